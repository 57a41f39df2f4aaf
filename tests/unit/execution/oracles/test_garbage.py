import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aprqa_ci.execution.oracles.garbage import GarbageConfig, GarbageOracle
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question

DICTIONARY = [
    *("river", "stone", "happy", "garden", "window", "yellow", "market", "dinner"),
    *("silver", "forest", "planet", "doctor", "summer", "bridge", "coffee", "animal"),
    *("letter", "music", "number", "orange", "people", "question", "railway", "school"),
    *("teacher", "umbrella", "village", "water", "year", "zebra", "bread", "castle"),
    *("danger", "engine", "flower", "grass", "house", "island"),
]


def judge(answer: str, prompt: str = "Tell me something.", **config: float) -> Judgement:
    oracle = GarbageOracle(config=GarbageConfig(**config))  # type: ignore[arg-type]  # numbers of either kind
    return oracle.judge(Question(prompt=prompt), answer)


words = st.lists(st.sampled_from(DICTIONARY), min_size=1, unique=True)


@given(words)
def test_distinct_words_are_no_garbage(said: list[str]) -> None:
    judged = judge(" ".join(said).capitalize() + ".")
    assert judged.verdict is OracleVerdict.CORROBORATED, judged.reason


@given(st.text(alphabet="abcdefgh XYZ123", min_size=1, max_size=30), st.integers(22, 60))
def test_anything_said_over_and_over_is_garbage(unit: str, times: int) -> None:
    assume(unit.strip())
    assert judge(unit * times).kind == "garbage"


@given(words, st.lists(st.sampled_from(DICTIONARY), min_size=3, max_size=12), st.integers(8, 20))
def test_a_loop_at_the_end_is_garbage(start: list[str], loop: list[str], times: int) -> None:
    answer = " ".join(start * 3) + ". " + " ".join([" ".join(loop)] * times)
    assert judge(answer).kind == "garbage"


@given(
    st.one_of(words.map(" ".join), st.sampled_from(["RRRRRRRR", "4", "", "nan nan"])),
    st.sampled_from(["\x1b[31m{}\x1b[0m", "\x1b[1m\x1b[4m{}", "{}\x1b[K", "\x1b]0;t\x07{}"]),
)
def test_colours_change_nothing(text: str, colour: str) -> None:
    assert judge(colour.format(text)) == judge(text)


@given(st.text())
def test_never_fails_and_json_hides_nothing(text: str) -> None:
    plain = judge(text)
    wrapped = judge(json.dumps({"answer": text, "other": "fine"}))
    hidden = ("control", "replacement", "repetition", "different", "bits")
    if any(word in plain.reason.split(":")[0] for word in hidden) and '"' not in text:
        assert wrapped.kind == "garbage"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        ("", "empty", "empty"),
        ("\u200b \n", "empty", "empty"),
        ("\x00 hello", "garbage", "U+0000"),
        ("\x7f" * 32, "garbage", "U+007F"),
        ("\ud800", "garbage", "U+D800"),
        ("caf\ufffd au lait", "garbage", "replacement"),
        ("\ufffd", "garbage", "replacement"),
        ("!!!!!!", "garbage", "punctuation"),
        ("nan nan nan", "garbage", "100% of the words"),
        ("R" * 32, "garbage", '"R" 32 times in a row'),
        ("A2" * 16, "garbage", '"A2" 16 times in a row'),
        ("the the the the", "garbage", '"the" 4 times in a row'),
        ("ABCD" + "abdcbadcacbdbcadcdabdbacabcd" * 2, "garbage", "different characters"),
        ("CafÃ© crÃ¨me", "garbage", "decoded wrongly"),
        ("åĽ½å®¶çļĦäººæ°ĳ", "garbage", "decoded wrongly"),
        ('{"answer": "RRRRRRR", "comment": "none"}', "garbage", "in a JSON string: "),
        (
            '[["all", "is", "well"], [{"name": "ok", "text": "of of of of of"}]]',
            "garbage",
            "in a JSON string: ",
        ),
    ],
)
def test_the_reason_names_what_was_seen(answer: str, kind: str, says: str) -> None:
    judged = judge(answer)
    assert judged.verdict is OracleVerdict.FALSIFIED
    assert judged.kind == kind
    assert says in judged.reason


def test_few_bits_a_character() -> None:
    answer = "a" * 20 + "bcdefghijklm" + "ab" * 3
    mixed = " ".join(f"{letter}aaaa" for letter in "bcdefghijkaaaaaaaaaa")
    assert "bits" in judge(mixed, max_repetition_ratio=1).reason
    assert judge(answer, max_repetition_ratio=1, min_unique_chars=0).kind == ""


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("nan", "Write nan."),
        ("\ufffd is the replacement character", "What is \ufffd?"),
        ("\x01", "Echo \x01"),
        ("Ã©Ã©", "What is Ã©Ã©?"),
    ],
)
def test_what_the_prompt_holds_may_be_given_back(answer: str, prompt: str) -> None:
    assert judge(answer, prompt).verdict is OracleVerdict.CORROBORATED


def test_the_ratio_of_a_playbook_takes_effect() -> None:
    answer = "Paris Paris Paris Paris is lovely in spring and in autumn"
    assert judge(answer).kind == "garbage"
    assert judge(answer, max_repetition_ratio=0.5).kind == ""
    assert judge("R" * 32, max_repetition_ratio=1).kind == ""
    assert judge("say it, say it, say it again please", max_repetition_ratio=0).kind == "garbage"


def test_the_unique_characters_of_a_playbook_take_effect() -> None:
    answer = "tacit cat, attic act, it at a tic tac, i act at it, a cat at attic, it"
    assert judge(answer, min_unique_chars=0).kind == ""
    assert "different" in judge(answer, min_unique_chars=10).reason
    assert judge("4", min_unique_chars=10).kind == ""


def test_a_loop_counts_where_it_stands_not_over_a_long_text() -> None:
    prose = " ".join(f"{word}{number}" for number in range(60) for word in DICTIONARY)
    assert judge(prose).kind == ""
    assert judge(prose + " I like it." * 12).kind == "garbage"
    assert judge(prose[:8000] + " I like it." * 40 + prose[8000:]).kind == "garbage"


@pytest.mark.parametrize("unit", ["a", "ab ", "Ã©", "1,234,", '["a",', "\\u", "\x1b[", "é", "🙂 "])
def test_hostile_answers_come_to_an_end(unit: str) -> None:
    assert judge(unit * (70_000 // len(unit))).verdict is OracleVerdict.FALSIFIED
