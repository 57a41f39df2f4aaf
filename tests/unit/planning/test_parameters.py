import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.planning.parameters import Parameter, draw_values, fill, fill_text, names_in

LISTS: dict[str, tuple[str | dict[str, str], ...]] = {
    "words": ("one", "two", "three", "four", "five"),
    "places": ({"country": "France", "city": "Paris"}, {"country": "Italy", "city": "Rome"}),
}


def parameters(raw: dict[str, Any]) -> dict[str, Parameter]:
    return msgspec.convert(raw, dict[str, Parameter])


def draw(raw: dict[str, Any], seed: int = 1) -> dict[str, int | str]:
    return draw_values(parameters(raw), LISTS, random.Random(seed))


@given(seed=st.integers(0, 2**32), low=st.integers(-5, 5), width=st.integers(0, 9))
def test_a_whole_number_stays_within_its_bounds(seed: int, low: int, width: int) -> None:
    value = draw({"a": {"int": [low, low + width]}}, seed)["a"]
    assert isinstance(value, int)
    assert low <= value <= low + width


def test_both_bounds_are_drawn() -> None:
    drawn = {draw({"a": {"int": [3, 5]}}, seed)["a"] for seed in range(50)}
    assert drawn == {3, 4, 5}


@given(seed=st.integers(0, 2**32))
def test_a_bound_may_name_an_earlier_parameter(seed: int) -> None:
    values = draw({"a": {"int": [0, 9]}, "b": {"int": [0, "a"]}}, seed)
    assert int(values["b"]) <= int(values["a"])


def test_a_row_gives_several_names_that_belong_together() -> None:
    seen = [draw({"place": {"row": "places"}}, seed) for seed in range(20)]
    assert {"country": "France", "city": "Paris"} in seen
    assert {"country": "Italy", "city": "Rome"} in seen
    assert all(values in list(LISTS["places"]) for values in seen)


@given(seed=st.integers(0, 2**32))
def test_words_are_different_and_as_many_as_asked_for(seed: int) -> None:
    words = str(draw({"w": {"words": [2, 4], "of": "words"}}, seed)["w"]).split(" ")
    assert 2 <= len(words) <= 4
    assert len(set(words)) == len(words)
    assert set(words) <= set(LISTS["words"])


def test_values_are_worked_out_from_earlier_ones() -> None:
    values = draw(
        {
            "a": {"int": [7, 7]},
            "b": {"int": [3, 3]},
            "w": {"choice": ["stone"]},
            "total": {"sum": ["a", "b"]},
            "rest": {"difference": ["a", "b"]},
            "times": {"product": ["a", 4]},
            "list": {"range": ["b", "a"]},
            "big": {"upper": "w"},
            "letter": {"first": "w"},
        }
    )
    assert values == {
        "a": 7,
        "b": 3,
        "w": "stone",
        "total": 10,
        "rest": 4,
        "times": 28,
        "list": "3, 4, 5, 6, 7",
        "big": "STONE",
        "letter": "s",
    }


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "exactly one way"),
        ({"int": [1, 2], "choice": ["a"]}, "exactly one way"),
        ({"words": [1, 2]}, "come together"),
        ({"choice": ["a"], "of": "words"}, "come together"),
        ({"integer": [1, 2]}, "unknown field"),
    ],
)
def test_a_contradictory_parameter_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        parameters({"a": raw})


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ({"a": {"int": [2, 1]}}, ValueError),
        ({"a": {"int": [0, "later"]}}, KeyError),
        ({"a": {"choice": "unknown"}}, KeyError),
        ({"a": {"choice": "places"}}, ValueError),
        ({"a": {"row": "words"}}, ValueError),
        ({"a": {"choice": []}}, ValueError),
    ],
)
def test_what_cannot_be_drawn_is_an_error(raw: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        draw(raw)


def test_filling_reaches_keys_lists_and_values() -> None:
    template = {"all": ["{word}", "is {n}"], "{word}": {"n": "{n:int}", "m": 3, "k": "{word:int}s"}}
    assert fill(template, {"word": "tree", "n": 7}) == {
        "all": ["tree", "is 7"],
        "tree": {"n": 7, "m": 3, "k": "{word:int}s"},
    }


def test_json_braces_are_not_parameters() -> None:
    assert fill_text('{"{key}": {n}}', {"key": "age", "n": 7}) == '{"age": 7}'


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill_text("{nobody}", {})


def test_names_in_a_text() -> None:
    assert names_in('{"{key}": {value}} {n:int}') == {"key", "value", "n"}
