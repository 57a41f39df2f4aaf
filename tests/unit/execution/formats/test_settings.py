import pytest

from aprqa_ci.execution.formats.settings import Settings, brief
from aprqa_ci.execution.formats.weights import FormatError


def test_good_settings_are_read() -> None:
    settings = Settings({"p.n": 3, "p.list": [4, 4], "p.x": 0.5, "p.b": True}, "f", prefix="p.")
    assert settings.integer("n") == 3
    assert settings.integer("list") == 4
    assert settings.integer("none", default=9) == 9
    assert settings.number("x") == 0.5
    assert settings.number("n") == 3.0
    assert settings.boolean("b", default=False) is True
    assert settings.boolean("none", default=True) is True
    settings.check()


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", [], [1, 2], 1 << 60, float("nan")])
def test_what_is_no_positive_integer(value: object) -> None:
    settings = Settings({"n": value}, "f")
    settings.integer("n")
    with pytest.raises(FormatError, match=r"n is .*, not a whole number from 1"):
        settings.check()


@pytest.mark.parametrize("value", [0, -1.0, True, "3", float("inf"), float("nan")])
def test_what_is_no_positive_number(value: object) -> None:
    settings = Settings({"x": value}, "f")
    settings.number("x")
    with pytest.raises(FormatError, match=r"x is .*, not a positive number"):
        settings.check()


def test_every_problem_is_said_in_one_go() -> None:
    settings = Settings({"b": "yes"}, "the-file", prefix="")
    settings.integer("n")
    settings.number("x")
    settings.boolean("b", default=False)
    settings.refuse("and more")
    with pytest.raises(FormatError) as caught:
        settings.check()
    assert str(caught.value) == (
        "the-file: n is missing; x is missing; b is 'yes', not true or false; and more"
    )


def test_long_values_are_quoted_short() -> None:
    assert brief("a") == "'a'"
    assert len(brief("a" * 10_000)) <= 60
    assert len(brief({str(number): number for number in range(100)})) == 60
