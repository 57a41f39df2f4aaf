import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci import wire
from aprqa_ci.errors import InputError
from aprqa_ci.wire import (
    WireModel,
    canonical_json,
    decode_wire,
    digest_of,
    near_name,
    pretty_json,
    read_wire,
)


class Inner(WireModel, frozen=True, kw_only=True):
    minutes: int


class Outer(WireModel, frozen=True, kw_only=True):
    name: str
    inner: Inner | None = None


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    value = Outer(name="x", inner=Inner(minutes=3))
    path = tmp_path / "value.json"
    path.write_bytes(pretty_json(value))
    assert read_wire(path, Outer) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nam": "x"}', r"v.json: Object missing required field `name`|unknown field `nam`"),
        ('{"name": "x", "iner": null}', r"unknown field `iner` .*perhaps 'inner' is meant"),
        ('{"name": "x", "inner": {"minute": 1}}', r"perhaps 'minutes' is meant"),
        ('{"name": 3}', r"Expected `str`, got `int`"),
        ('{"name": "x"', r"v.json: not valid JSON"),
        ("", r"not valid JSON"),
    ],
)
def test_what_does_not_fit_is_an_input_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_wire(text, Outer, source="v.json")


def test_endless_nesting_is_an_input_error() -> None:
    with pytest.raises(InputError, match="not valid JSON"):
        decode_wire("[" * 100_000, list, source="v.json")


def test_bytes_that_are_no_text_are_an_input_error() -> None:
    with pytest.raises(InputError, match=r"v\.json"):
        decode_wire(b'{"name": "\xff\xfe"}', Outer, source="v.json")


def test_files_that_are_too_large_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(b" " * 100)
    monkeypatch.setattr(wire, "MAX_WIRE_BYTES", 99)
    with pytest.raises(InputError, match="larger than 99 bytes"):
        read_wire(path, Outer)


@given(st.dictionaries(st.text(), values, min_size=1))
def test_the_order_of_keys_does_not_change_a_digest(value: dict[str, Any]) -> None:
    turned = dict(reversed(list(value.items())))
    assert canonical_json(turned) == canonical_json(value)
    assert digest_of(turned) == digest_of(value)
    assert json.loads(canonical_json(value)) == json.loads(pretty_json(value)) == value


def test_digests_tell_values_apart() -> None:
    assert digest_of({"a": 1}) != digest_of({"a": "1"})
    assert len(digest_of({})) == 64


def test_pretty_json_is_for_people_and_ends_its_line() -> None:
    assert pretty_json({"a": [1]}) == b'{\n  "a": [\n    1\n  ]\n}\n'


def test_near_names() -> None:
    assert near_name("quik", ["quick", "full"]) == "perhaps 'quick' is meant"
    assert near_name("zzz", ["quick", "full"]) == ""
