import random
from itertools import pairwise
from typing import Any

import pytest

from aprqa_ci.execution.formats.bpe import BytePairMerger


def _slow(word: str, merges: list[str]) -> list[str]:
    """The definition: again and again the best pair, the leftmost of equals."""
    symbols = list(word)
    while True:
        pairs = [" ".join(pair) for pair in pairwise(symbols)]
        known = [(merges.index(pair), place) for place, pair in enumerate(pairs) if pair in merges]
        if not known:
            return symbols
        _, place = min(known)
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]


def _merger(merges: list[str]) -> tuple[BytePairMerger, list[str]]:
    tokens = ["a", "b", "c", *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return BytePairMerger(vocabulary, merges), list(vocabulary)


MERGES = ["a b", "b c", "ab c", "a a", "aa aa", "c ab", "aa b", "c c"]


def test_random_words_merge_as_defined() -> None:
    merger, tokens = _merger(MERGES)
    generator = random.Random(5)
    for _ in range(600):
        word = "".join(generator.choices("abc", k=generator.randrange(0, 14)))
        assert [tokens[number] for number in merger.token_ids(word)] == _slow(word, MERGES)


def test_a_word_is_the_same_when_it_comes_from_the_cache() -> None:
    merger, _ = _merger(MERGES)
    assert merger.token_ids("abcabc") == merger.token_ids("abcabc")


def test_whole_words_and_unknown_symbols() -> None:
    plain, tokens = _merger(["a b"])
    assert [tokens[number] for number in plain.token_ids("aba")] == ["ab", "a"]
    vocabulary = {"a": 0, "b": 1, "aba": 2, "<unk>": 9}
    assert BytePairMerger(vocabulary, [], whole_words=True).token_ids("aba") == [2]
    assert BytePairMerger(vocabulary, []).token_ids("aba") == [0, 1, 0]
    assert BytePairMerger(vocabulary, []).token_ids("axb") == [0, 1]
    assert BytePairMerger(vocabulary, [], unknown_id=9).token_ids("axb") == [0, 9, 1]


@pytest.mark.parametrize("merges", [["a a", "aa aa", "aaaa aaaa"], ["a a", "aa a", "aaa a"], []])
def test_a_long_word_takes_few_steps(merges: list[str]) -> None:
    """Counts look-ups instead of seconds: about n log n for n symbols, not n squared."""
    merger, _ = _merger(merges)
    looked_up = 0

    class Counting(dict[str, int]):
        def get(self, *arguments: Any) -> Any:
            nonlocal looked_up
            looked_up += 1
            return super().get(*arguments)

    merger._ranks = Counting(merger._ranks)
    word = "a" * 20_000
    assert merger.token_ids(word)
    assert looked_up < 8 * len(word)
