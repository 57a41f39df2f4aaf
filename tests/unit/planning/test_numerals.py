from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.planning.numerals import MAX_DIGITS, TokenKind, tokenize


def numbers(text: str) -> list[Fraction]:
    return [token.value for token in tokenize(text) if token.kind is TokenKind.NUMBER]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", [4]),
        ("4.", [4]),
        ("4.50", [Fraction(9, 2)]),
        (".5", [Fraction(1, 2)]),
        ("1,234,567.5", [Fraction("1234567.5")]),
        ("1'234 and 1_234", [1234, 1234]),
        ("1\u202f234", [1234]),
        ("1,2,3", [1, 2, 3]),
        ("12,345,67", [12, 345, 67]),
        ("1e3 2.5E-1", [1000, Fraction(1, 4)]),
        ("1234ms v4 4th 10% 3D 1.2.3", []),
        ("twenty-one", [21]),
        ("Forty two", [42]),
        ("one hundred and five", [105]),
        ("fifty-six thousand eighty-eight", [56088]),
        ("two million", [2_000_000]),
        ("one two", [1, 2]),
        ("twenty zero", [20, 0]),
        ("答案是4。", [4]),
        ("٤", [4]),
        ("9" * MAX_DIGITS, [int("9" * MAX_DIGITS)]),
        ("9" * (MAX_DIGITS + 1), []),
        (",".join(["999"] * 20), []),
    ],
)
def test_numbers(text: str, expected: list[Fraction]) -> None:
    assert numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "signs"),
    [
        ("1 + 2 - 3 * 4 / 5", "+-*/"),
        ("1 × 2 ÷ 3 − 4 – 5 · 6", "*/--*"),  # noqa: RUF001 - the signs people type
        ("1 plus 2 minus 3 times 4", "+-*"),
        ("1 multiplied by 2 divided by 3", "*/"),
        ("multiplied alone, divided", ""),
        (r"1 \times 2 \cdot 3 \div 4 \alpha", "**/"),
        ("7x8", "*"),
    ],
)
def test_operators(text: str, signs: str) -> None:
    found = [token.text for token in tokenize(text) if token.kind is TokenKind.OPERATOR]
    assert "".join(found) == signs


@given(st.text())
def test_tokens_are_in_order_and_inside_the_text(text: str) -> None:
    at = 0
    for token in tokenize(text):
        assert at <= token.start <= token.end <= len(text)
        at = token.end


@given(st.integers(min_value=0, max_value=10**30))
def test_thousands_separators_change_nothing(value: int) -> None:
    assert numbers(f"{value:,}") == numbers(str(value)) == [value]
