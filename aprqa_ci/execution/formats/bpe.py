"""Byte-pair merging: from the symbols of a word to the tokens of a vocabulary."""

import heapq
from collections.abc import Mapping, Sequence

__all__ = ["BytePairMerger"]

_CACHED_WORDS = 1 << 14
_CACHED_LENGTH = 32


class BytePairMerger:
    """Merges the symbols of words, best rank first, leftmost first among equals.

    A heap of candidate pairs makes a word of n symbols cost n log n, whatever the word.

    Args:
        vocabulary: token to id.
        merges: ``left right`` pairs, best first; every result is in the vocabulary.
        whole_words: whether a word that is a token is taken as it is.
        unknown_id: what stands for symbols outside the vocabulary; without it they are dropped,
            as the field's own library does.
    """

    def __init__(
        self,
        vocabulary: Mapping[str, int],
        merges: Sequence[str],
        *,
        whole_words: bool = False,
        unknown_id: int | None = None,
    ) -> None:
        self._vocabulary = vocabulary
        # A symbol never holds a blank, so the pair can be looked up as one text.
        self._ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
        self._whole_words = whole_words
        self._unknown_id = unknown_id
        self._cache: dict[str, list[int]] = {}

    def token_ids(self, word: str) -> list[int]:
        """Return the token ids of one word, spelled in the byte-level alphabet."""
        found = self._cache.get(word)
        if found is None:
            found = self._ids(word)
            if len(word) <= _CACHED_LENGTH and len(self._cache) < _CACHED_WORDS:
                self._cache[word] = found
        return found

    def _ids(self, word: str) -> list[int]:
        if self._whole_words and word in self._vocabulary:
            return [self._vocabulary[word]]
        ids = []
        for symbol in self._merge(word):
            token = self._vocabulary.get(symbol, self._unknown_id)
            if token is not None:
                ids.append(token)
        return ids

    def _merge(self, word: str) -> list[str]:
        symbols: list[str] = list(word)
        count = len(symbols)
        # A doubly linked list over positions; a merged-away position holds the empty text.
        following = list(range(1, count + 1))
        preceding = list(range(-1, count - 1))
        ranks = self._ranks
        heap = [
            (rank, position)
            for position in range(count - 1)
            if (rank := ranks.get(f"{symbols[position]} {symbols[position + 1]}")) is not None
        ]
        heapq.heapify(heap)
        while heap:
            rank, left = heapq.heappop(heap)
            right = following[left]
            # An entry is stale when one of its two symbols has changed since it was made.
            if right >= count or ranks.get(f"{symbols[left]} {symbols[right]}") != rank:
                continue
            symbols[left] += symbols[right]
            symbols[right] = ""
            after = following[left] = following[right]
            if after < count:
                preceding[after] = left
            for first, second in ((preceding[left], left), (left, after)):
                if first >= 0 and second < count:
                    better = ranks.get(f"{symbols[first]} {symbols[second]}")
                    if better is not None:
                        heapq.heappush(heap, (better, first))
        return [symbol for symbol in symbols if symbol]
