import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.json_text import parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.booleans())
def test_what_is_json_is_read_as_the_library_reads_it(value: object, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    assert parse_json(text) == value
    assert parse_json(b"\xef\xbb\xbf" + text.encode()) == value


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        '["\\uDC00"]',
        '{"\\udfffx": 1}',
        '{"a": {"b": "\\ud83d\\u0041"}}',
    ],
)
def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        parse_json(text)


def test_a_whole_pair_and_an_escaped_backslash_are_text() -> None:
    assert parse_json('["\\ud83d\\ude00", "\\\\ud800"]') == ["😀", "\\ud800"]


@pytest.mark.parametrize("data", ["[" * 200_000, "{", "", b"\xff", "[1] 2"])
def test_whatever_else_is_no_json_is_a_value_error(data: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says it in the words of its reader
        parse_json(data)


def test_objects_and_constants_are_made_by_the_caller() -> None:
    assert parse_json('{"a": 1, "a": 2}', object_of=lambda pairs: {"n": len(pairs)}) == {"n": 2}
    assert parse_json("NaN", constant_of=lambda name: name) == "NaN"
