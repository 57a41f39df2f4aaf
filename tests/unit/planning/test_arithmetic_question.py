from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.planning.arithmetic_question import MAX_PROMPT, find_expression


def value_of(prompt: str) -> Fraction | None:
    found = find_expression(prompt)
    return None if found is None else found.value


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What is 2+2?", 4),
        ("Calculate 7*8", 56),
        ("12 + 30 =", 42),
        ("Add 3 and 4.", 7),
        ("What is 7 times 8?", 56),
        ("15-7", 8),
        ("123 * 456", 56088),
        ("What is 0.1 + 0.2? Give a precise answer.", Fraction(3, 10)),
        ("What is 3 × 4?", 12),
        ("What is 12 ÷ 4?", 3),
        ("7 \u2212 2 =", 5),
        ("What is 1,000 + 1?", 1001),
        ("Calculate (2+3)*4.", 20),
        ("1+2*3=", 7),
        ("What is 100/4?", 25),
        ("What is -5+3?", -2),
        ("5 - -3", 8),
        ("Think step-by-step and list 3 facts", None),
        ("Today is 2024-01-02.", None),
        ("What is 2024-01-02?", None),
        ("rate on a 1-10 scale", None),
        ("What is a 1-10 scale?", None),
        ("What is 1-10 scale?", None),
        ("What is Python 3.11 - 2?", None),
        ("What is 2*x + 3?", None),
        ("Given x=5 and y=3, what is x*y? Then what is the result plus 10?", None),
        ("Is 2+2 equal to 5?", None),
        ("Is 2 + 2 = 4?", None),
        ("Calculate 3+4, then double it", None),
        ("2+3=5\n4+4=8\n7+1=", 8),
        (
            "Write a step-by-step solution to: What is 123 * 456? Show all multiplication steps.",
            56088,
        ),
        ("Define a function add(a,b) that returns a+b. What does add(3,4) return?", None),
        ("What is 1000000 - 999999?", 1),
        ("Calculate 999 + 1.", 1000),
        ("List the first 5 prime numbers. Now sum them.", None),
        ("What is two plus three?", 5),
        ("What is twenty-one minus one?", 20),
        ("the sum of 1, 2 and 3", 6),
        ("Subtract 3 from 10.", 7),
        ("Divide 12 by 4", 3),
        ("What is the difference between 10 and 3?", 7),
        ("What is 7 x 8?", 56),
        ("What is 7x8?", 56),
        ("Draw a 3 x 4 grid", None),
        ("open 24/7", None),
        ("What is 24/7 support?", None),
        ("I have 3 + 4 apples and lose 2", None),
        ("What is 2^3 + 1?", None),
        ("2 ** 3 + 1", None),
        ("Call 555-1234", None),
        ("What is 5 + 10%?", None),
        ("What is $5 + $3?", None),
        ("What is 8 divided by 2?", 4),
        ("What is 8 multiplied by 2?", 16),
        ("Answer in 1 word: what is 2+2?", 4),
        ("2+2", 4),
        ("GPT-4 and 3 cats", None),
        ("How much is 17 + 25?", 42),
        ("What is 1/0?", None),
        ("What's 9+9?", 18),
        ("Please answer: 3+3", 6),
        ("What is 3 + 4 and 5 + 6?", None),
        ("What is ((2))?", None),
        ("What is 2 + 2 = ?", 4),
        ("Compute 5+", None),
        ("What is 10-3-2?", 5),
        ("What is 1.2.3 + 4?", None),
        ("Use C++ 11", None),
        ("Q: 4 + 4\nA:", 8),
        ("What is 5 plus 6? Answer with a number only.", 11),
        ("Reply with only the number: 6*7", 42),
        ("What is 5 - 3? Reply with one number.", 2),
        ("If you have 3 apples and buy 4 more, what is 3+4?", 7),
        ("What is one plus one?", 2),
        ("If 3 + 4 apples", None),
        ("", None),
        ("What is 8 / 2?", 4),
        ("What is 3!+ 4?", None),
        ("pages 3 - 5", None),
        ("What is 3 factorial plus 2?", None),
        ("What is the sum of 12 and 30?", 42),
        ("What do you get when you add 5 and 6?", 11),
        ("What is 2+3=5?", None),
        ("x = 3 + 4", None),
        ("What is the result plus 10?", None),
        ("What is a*b?", None),
        ("GPT-4 is good, what is 2+2?", 4),
        ("What is 5 + 3 * x?", None),
        ("What is 01-02?", None),
        ("see #3+4", None),
        ("Let y be x + 1. What is 2+2?", None),
        ("With a*b in mind, what is 3+4?", None),
        ("Q: 0 - 1\nA:", -1),
    ],
)
def test_finds_the_question_or_says_there_is_none(prompt: str, expected: Fraction | None) -> None:
    assert value_of(prompt) == expected


PHRASES = [
    "What is {}?",
    "Calculate {}.",
    "{} =",
    "{}",
    "How much is {}?",
    "Compute {} and reply with the number only.",
    "Q: {}\nA:",
    "Please answer: {}",
    "What is {}? Show all steps.",
]


@given(
    a=st.integers(min_value=0, max_value=10**6),
    b=st.integers(min_value=1, max_value=999),
    sign=st.sampled_from(["+", " + ", " - ", " * ", " × ", " / ", " ÷ ", " plus ", " times "]),
    phrase=st.sampled_from(PHRASES),
)
def test_every_phrasing_asks_for_the_same(a: int, b: int, sign: str, phrase: str) -> None:
    symbol = {"×": "*", "÷": "/", "plus": "+", "times": "*"}.get(sign.strip(), sign.strip())
    exact = {"+": a + b, "-": a - b, "*": a * b, "/": Fraction(a, b)}[symbol]
    assert value_of(phrase.format(f"{a}{sign}{b}")) == exact


@given(st.dates(), st.sampled_from(["What happened on {}?", "What is {}?", "It was {}."]))
def test_a_date_is_no_sum(date: object, phrase: str) -> None:
    assert value_of(phrase.format(date)) is None


@given(st.text())
def test_never_fails(prompt: str) -> None:
    found = find_expression(prompt)
    assert found is None or found.text


def test_a_very_long_prompt_is_not_searched() -> None:
    assert value_of("2+2 =" + " " * MAX_PROMPT) is None
