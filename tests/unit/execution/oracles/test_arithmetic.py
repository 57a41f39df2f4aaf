import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aprqa_ci.execution.oracles.arithmetic import ArithmeticConfig, ArithmeticOracle
from aprqa_ci.execution.oracles.interface import OracleVerdict, Question

WORDS = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven"),
    *("eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen"),
    *("sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
]

ANSWERS = [
    "{}",
    "{}.",
    "**{}**",
    "= {}",
    "The answer is {}.",
    "The result: {}",
    "It is {}!",
    "{}, I think.",
    "{question} = {}",
    "{question} is {}. Anything else?",
    "{question} equals {}",
    "Sure! {question} = **{}**.",
    "Let us see.\n1. Read the question.\n2. Think.\nSo the answer is {}.",
    "#### {}",
    "\\boxed{{{}}}",
    "\x1b[32m{}\x1b[0m",
    '{{"text": "{}", "latency_ms": 1234}}',
    "{}\n\nWhat is 10000 + 1? It is 10001.",
]

operand = st.integers(min_value=0, max_value=10_000)
signs = st.sampled_from(["+", "-", "*"])


def judge(prompt: str, answer: str, tolerance: float = 0.0) -> OracleVerdict:
    oracle = ArithmeticOracle(config=ArithmeticConfig(tolerance=tolerance))
    return oracle.judge(Question(prompt=prompt), answer).verdict


def said(phrase: str, value: object, question: str) -> str:
    return phrase.format(value, question=question)


def exact(a: int, sign: str, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b}[sign]


@given(operand, signs, operand, st.sampled_from(ANSWERS), st.booleans())
def test_the_right_value_in_any_phrasing_is_right(
    a: int, sign: str, b: int, phrase: str, grouped: bool
) -> None:
    assume((a, sign, b) != (10_000, "+", 1))
    question = f"{a} {sign} {b}"
    value = exact(a, sign, b)
    answer = said(phrase, f"{value:,}" if grouped else value, question)
    assert judge(f"What is {question}?", answer) is OracleVerdict.CORROBORATED


@given(operand, signs, operand, st.sampled_from(ANSWERS), st.integers(-10_000, 10_000))
def test_any_other_value_in_any_phrasing_is_wrong(
    a: int, sign: str, b: int, phrase: str, error: int
) -> None:
    assume(error != 0)
    question = f"{a} {sign} {b}"
    answer = said(phrase, exact(a, sign, b) + error, question)
    for tolerance in (0.0, 0.01):
        assert judge(f"What is {question}?", answer, tolerance) is OracleVerdict.FALSIFIED


@given(st.integers(0, 20), st.integers(0, 20), st.sampled_from(["{}", "{}.", "It is {}."]))
def test_values_in_letters(expected: int, given_value: int, phrase: str) -> None:
    verdict = judge(f"What is {expected + 3} - 3?", phrase.format(WORDS[given_value].title()))
    right = expected == given_value
    assert verdict is (OracleVerdict.CORROBORATED if right else OracleVerdict.FALSIFIED)


@given(operand, operand, st.text(alphabet="abcxyz", min_size=1, max_size=4))
def test_a_number_inside_a_word_is_no_number(a: int, b: int, letters: str) -> None:
    for word in (f"{a + b}{letters}", f"{letters}{a + b}"):
        assert judge(f"What is {a}+{b}?", word) is OracleVerdict.FALSIFIED


@given(st.text())
def test_never_fails(answer: str) -> None:
    assert judge("What is 2+2?", answer) is not OracleVerdict.NOT_APPLICABLE


def test_tolerance_is_for_decimal_fractions_only() -> None:
    assert judge("What is 10/3?", "3.3") is OracleVerdict.FALSIFIED
    assert judge("What is 10/3?", "3.3", 0.02) is OracleVerdict.CORROBORATED
    assert judge("What is 999 + 1?", "1001", 0.02) is OracleVerdict.FALSIFIED
    assert judge("What is 999 + 1?", "1000.5", 0.02) is OracleVerdict.CORROBORATED


def test_the_reason_says_what_was_expected_and_what_was_read() -> None:
    judged = ArithmeticOracle().judge(Question(prompt="What is 0.1 + 0.2?"), "It is 0.4")
    assert judged.reason.startswith('0.1 + 0.2 = 0.3; the answer says "0.4"')
    assert judged.kind == "wrong"
    judged = ArithmeticOracle().judge(Question(prompt="What is 10/4 + 1/6?"), "n/a")
    assert judged.reason == '10/4 + 1/6 = 8/3, but the answer states no result: "n/a"'
    nines = "9" * 30
    question = Question(prompt=f"What is {'*'.join([nines] * 8)}?")
    assert "a long number" in ArithmeticOracle().judge(question, "1").reason
    question = Question(prompt=f"What is {nines} + 0.5?")
    assert "a long number" in ArithmeticOracle().judge(question, "1").reason


HOSTILE = ["(", "2+2=", "1/3 ", "is ", "1,234,", "((2+2", "the answer is ", "1. ", "-", "not 4 "]


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_answers_come_to_an_end(unit: str) -> None:
    assert isinstance(judge("What is 2+2?", unit * (70_000 // len(unit))), OracleVerdict)
