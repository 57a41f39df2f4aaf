from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.planning.expressions import MAX_OPERANDS, expressions_in
from aprqa_ci.planning.numerals import tokenize


def values(text: str) -> list[Fraction | None]:
    return [found.value for found in expressions_in(text, tokenize(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1+2*3", [7]),
        ("(1+2)*3", [9]),
        ("10-3-2", [5]),
        ("8/4/2", [1]),
        ("1/3", [Fraction(1, 3)]),
        ("0.1 + 0.2", [Fraction(3, 10)]),
        ("-5+3", [-2]),
        ("5 - -3", [8]),
        ("2*(3+4)-(1-1)", [14]),
        ("2+2 and 3+3", [4, 6]),
        ("1/0", [None]),
        ("1/(2-2)", [None]),
        ("add 3 and 4", [7]),
        ("the sum of 1, 2, and 3", [6]),
        ("subtract 3 from 10", [7]),
        ("the difference between 10 and 3", [7]),
        ("divide 12 by 4", [3]),
        ("divide 12 by 0", [None]),
        ("the product of 2, 3 and 4", [24]),
        ("subtract 1, 2 and 3", []),
        ("7 x 8", [56]),
        ("x 8", []),
        ("3 + ", []),
        ("(3 + 4", [7]),
        ("5", []),
        ("((((((((((((((1+1))))))))))))))", [2]),
    ],
)
def test_values(text: str, expected: list[Fraction | None]) -> None:
    assert values(text) == expected


def test_a_chain_of_too_many_operands_has_no_value() -> None:
    assert values("+".join(["1"] * MAX_OPERANDS)) == [MAX_OPERANDS]
    assert values("+".join(["1"] * (MAX_OPERANDS + 1))) == [None]


def test_the_same_question_in_another_order_is_the_same() -> None:
    first, second, third = (
        expressions_in(text, tokenize(text))[0] for text in ("5+7", "7 + 5", "6+6")
    )
    assert first.same_as(second)
    assert not first.same_as(third)


numeral = st.integers(min_value=0, max_value=999)


@given(st.lists(numeral, min_size=2, max_size=8), st.data())
def test_values_equal_those_of_exact_evaluation(operands: list[int], data: st.DataObject) -> None:
    signs = [data.draw(st.sampled_from("+-*")) for _ in operands[1:]]
    text = str(operands[0])
    for sign, operand in zip(signs, operands[1:], strict=True):
        text += f" {sign} {operand}"
    # Digits and three signs that the test itself put together.
    assert values(text) == [eval(text)]  # noqa: S307 - see the line above


@pytest.mark.parametrize("unit", ["(", "1+", "(1+", "-", "1/3 ", "1,234,", "((2+2", ")(", "add 1 "])
def test_hostile_texts_come_to_an_end(unit: str) -> None:
    found = expressions_in(unit * 8000, tokenize(unit * 8000))
    assert len(found) <= 8000
