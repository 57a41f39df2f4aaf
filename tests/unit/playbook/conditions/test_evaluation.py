from collections.abc import Mapping

import pytest

from aprqa_ci.playbook.conditions.evaluation import (
    Answers,
    Facts,
    Inapplicable,
    Missing,
    Value,
    evaluate,
)
from aprqa_ci.playbook.conditions.syntax import parse_condition

NONE = Missing(what="m")
AWAY = Inapplicable()


class Table(Facts):
    """Facts from a mapping; calls and comparisons are recorded."""

    def __init__(self, facts: Mapping[str, Value]) -> None:
        self._facts = facts

    def fact(self, name: str) -> Value:
        return self._facts[name]

    def call(self, name: str, arguments: tuple[str, ...]) -> Value:
        return f"{name}:{','.join(arguments)}"

    def alike(self, left: Answers, right: Answers) -> Value:
        return left == right


FACTS: dict[str, Value] = {
    "t": True,
    "f": False,
    "m": NONE,
    "n": AWAY,
    "x": 3.0,
    "zero": 0.0,
    "s": "four",
    "a": Answers(cells=(("k", None, ("1",)),)),
}


def value(text: str) -> Value:
    return evaluate(parse_condition(text), Table(FACTS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("8 / 2 / 2", 2.0),
        ("5 - 2 - 1", 2.0),
        ("-x", -3.0),
        ("!t", False),
        ("x < 3", False),
        ("x <= 3", True),
        ("x > 3", False),
        ("x >= 3", True),
        ("x == 3", True),
        ("x != 3", False),
        ("s == 'four'", True),
        ("s.len()", 4.0),
        ("s.contains('ou')", True),
        ("s.contains('x')", False),
        ("s.starts_with('fo')", True),
        ("s.ends_with('fo')", False),
        ("is_empty(' ')", True),
        ("is_empty(s)", False),
        ("f(s, 'x')", "f:four,x"),
        ("f(m)", NONE),
        ("t ? 1 : 2", 1.0),
        ("f ? 1 : 2", 2.0),
        ("m ? 1 : 2", NONE),
        ("t && f", False),
        ("f && m", False),
        ("m && f", False),
        ("n && f", False),
        ("t && t", True),
        ("t && m", NONE),
        ("m && t", NONE),
        ("n && t", AWAY),
        ("n && m", NONE),
        ("t || m", True),
        ("m || t", True),
        ("f || f", False),
        ("f || m", NONE),
        ("n || f", AWAY),
        ("n || m", NONE),
        ("f => f", AWAY),
        ("f => m", AWAY),
        ("t => f", False),
        ("t => t", True),
        ("t => m", NONE),
        ("m => t", NONE),
        ("n => t", AWAY),
        ("!m", NONE),
        ("-n < 1", AWAY),
        ("m < 1", NONE),
        ("1 < n", AWAY),
        ("n < m", NONE),
        ("x / zero", Missing(what="a number to divide by other than 0")),
        ("1e15 * 1e15 * 1e15 * 1e15 > 1", True),
        ("a ≈ a", True),
        ("a ≈ x", Missing(what="answers to compare")),
    ],
)
def test_values(text: str, expected: Value) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


def test_a_number_out_of_range_has_no_value() -> None:
    large = " * ".join(["1e15"] * 25)
    assert value(f"{large} > 1") == Missing(what="a finite number")
