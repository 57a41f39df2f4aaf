import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.expected_text import (
    ContainsConfig,
    ContainsOracle,
    ExactConfig,
    ExactOracle,
)
from aprqa_ci.execution.oracles.interface import OracleVerdict, Question

QUESTION = Question(prompt="Which one?")
word = st.text(alphabet="abcdeöβж", min_size=1, max_size=8)
WRAPPERS = [
    "{}",
    " {}\n",
    '"{}"',
    "`{}`",
    "**{}**",
    "{}.",
    "{}!",
    "“{}”",
    '"{}."',
    "\x1b[1m{}\x1b[0m",
]


def exact(expect: str | tuple[str, ...], answer: str, *, ignore_case: bool = True) -> OracleVerdict:
    oracle = ExactOracle(config=ExactConfig(expect=expect, ignore_case=ignore_case))
    return oracle.judge(QUESTION, answer).verdict


def contains(answer: str, **config: object) -> OracleVerdict:
    oracle = ContainsOracle(config=ContainsConfig(**config))  # type: ignore[arg-type]  # settings by name
    return oracle.judge(QUESTION, answer).verdict


@given(word, word, st.sampled_from(WRAPPERS))
def test_exact(expected: str, said: str, wrapper: str) -> None:
    right = expected == said
    verdict = exact(expected, wrapper.format(said))
    assert verdict is (OracleVerdict.CORROBORATED if right else OracleVerdict.FALSIFIED)
    assert exact((expected, said), wrapper.format(said)) is OracleVerdict.CORROBORATED


@given(word, word, st.lists(word, max_size=5))
def test_contains_whole_words(wanted: str, glued: str, others: list[str]) -> None:
    others = [other for other in others if other != wanted]
    text = " ".join([*others, wanted, *others])
    assert contains(text, all=wanted) is OracleVerdict.CORROBORATED
    assert contains(text, none=wanted) is OracleVerdict.FALSIFIED
    assert contains(f"({wanted}),", any=("zzz", wanted)) is OracleVerdict.CORROBORATED
    assert contains(wanted + "z" + glued, all=wanted) is OracleVerdict.FALSIFIED
    assert contains(" ".join(others), all=wanted) is OracleVerdict.FALSIFIED


@given(st.text(), st.text(min_size=1))
def test_never_fail(answer: str, expected: str) -> None:
    exact(expected, answer)
    try:
        config = ContainsConfig(all=expected)
    except InputError:
        return
    ContainsOracle(config=config).judge(QUESTION, answer)


def test_an_expectation_of_invisible_characters_only_is_refused() -> None:
    with pytest.raises(InputError, match="contains"):
        ContainsConfig(all="\u200f")


def test_case_counts_on_request() -> None:
    assert exact("Paris", "paris", ignore_case=False) is OracleVerdict.FALSIFIED
    assert contains("paris", all="Paris", ignore_case=False) is OracleVerdict.FALSIFIED


def test_reasons_name_every_fault() -> None:
    config = ContainsConfig(all=("red", "blue"), any=("x", "y"), none=("green",))
    judged = ContainsOracle(config=config).judge(QUESTION, "red green")
    assert judged.reason == (
        '"blue" is missing; none of "x", "y" is there; "green" is there; the answer is "red green"'
    )


@pytest.mark.parametrize("expect", ["", (), ("a", "")])
def test_exact_needs_an_expectation(expect: str | tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="exact"):
        ExactConfig(expect=expect)


@pytest.mark.parametrize("config", [{}, {"all": " "}, {"any": ("a", "")}])
def test_contains_needs_an_expectation(config: dict[str, str | tuple[str, ...]]) -> None:
    with pytest.raises(InputError, match="contains"):
        ContainsConfig(**config)  # type: ignore[arg-type]  # settings by name
