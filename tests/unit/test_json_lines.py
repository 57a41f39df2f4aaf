import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.json_lines import line_at_byte, line_of_place, line_of_steps
from aprqa_ci.planning.plan import Plan
from aprqa_ci.wire import decode_wire

TEXT = """{
  "a": [1, {
    "b c": "{[,\\"",
    "x": null
  }],
  "z": {"deep": [
    [], 7]}
}
"""


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ([], 1), (["a"], 2), (["a", 0], 2), (["a", 1], 2), (["a", 1, "b c"], 3),
        (["a", 1, "x"], 4), (["z", "deep", 1], 7),
    ],
)  # fmt: skip
def test_the_line_of_a_value(steps: list[str | int], line: int) -> None:
    assert line_of_steps(TEXT, steps) == line
    assert line_of_steps(TEXT.encode(), steps) == line


@pytest.mark.parametrize("steps", [["b"], ["a", 2], ["a", "b"], [0], ["a", 0, "x"]])
def test_what_is_not_there_has_no_line(steps: list[str | int]) -> None:
    assert line_of_steps(TEXT, steps) is None


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Expected `str`, got `int` - at `$.a[1].x`", 4),
        ("Object missing required field `q` - at `$.z`", 6),
        ("Object missing required field `q`", 1),
        ("Expected `int` - at `$.a[...]`", 2),
        ("JSON is malformed: invalid character (byte 25)", 3),
        ("something else", None),
    ],
)
def test_the_line_that_a_message_names(message: str, line: int | None) -> None:
    assert line_of_place(TEXT, message) == line


def test_bytes_are_counted_in_bytes() -> None:
    assert line_at_byte("é\né\n", 3) == 2
    assert line_at_byte("é\né\n", 2) == 1


names = st.text(st.characters(codec="utf-8"), max_size=5)
values = st.recursive(
    st.none() | st.integers() | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.data())
def test_every_value_is_found_where_it_is_written(value: Any, data: st.DataObject) -> None:
    text = json.dumps({"top": value}, indent=1, ensure_ascii=data.draw(st.booleans()))
    steps: list[str | int] = ["top"]
    while value and isinstance(value, dict | list):
        step = data.draw(
            st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value)))
        )
        steps.append(step)
        value = value[step]
    line = line_of_steps(text, steps)
    assert line is not None
    rest = "\n".join(text.split("\n")[line - 1 :])
    shown = (
        json.dumps(value)
        if not isinstance(value, dict | list)
        else ("{" if isinstance(value, dict) else "[")
    )
    assert shown in rest or json.dumps(value, ensure_ascii=False) in rest


@given(st.binary(max_size=60), st.lists(st.integers(0, 3) | st.text(max_size=2), max_size=3))
def test_any_bytes_have_a_line_or_none(data: bytes, steps: list[str | int]) -> None:
    found = line_of_steps(data, steps)
    assert found is None or 1 <= found <= data.count(b"\n") + 1


def test_a_wire_file_is_refused_by_its_line() -> None:
    plan = Plan(tool_version="0", playbooks=(), cells=(), shards=())
    text = msgspec.json.format(msgspec.json.encode(plan), indent=2).decode()
    wrong = text.replace('"shards": []', '"shards": [\n    {"id": 7}\n  ]')
    with pytest.raises(InputError) as caught:
        decode_wire(wrong, Plan, source="plan.json")
    (problem,) = caught.value.problems
    assert problem.line == wrong[: wrong.index("7")].count("\n") + 1
    assert str(problem).startswith(f"plan.json:{problem.line}: ")
