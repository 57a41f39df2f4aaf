import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.oracles.interface import OracleVerdict, Question
from aprqa_ci.execution.oracles.json_oracle import JsonConfig, JsonOracle
from aprqa_ci.execution.oracles.json_text import parse_json

value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def judge(answer: str, expect: dict[str, Any] | None = None) -> OracleVerdict:
    oracle = JsonOracle(config=JsonConfig(expect=expect or {}))
    return oracle.judge(Question(prompt="Give me JSON."), answer).verdict


@given(st.dictionaries(st.text(), value, min_size=1), st.dictionaries(st.text(), value))
def test_a_subset_is_held_and_a_change_is_seen(
    expect: dict[str, Any], others: dict[str, Any]
) -> None:
    text = json.dumps({**others, **expect})
    for answer in (text, f"```json\n{text}\n```", f"Here:\n```\n{text}\n```\nBye"):
        assert judge(answer, expect) is OracleVerdict.CORROBORATED
    key = next(iter(expect))
    assert judge(json.dumps({**expect, key: ["changed", key]}), expect) is OracleVerdict.FALSIFIED
    without = {name: held for name, held in expect.items() if name != key}
    assert judge(json.dumps(without), expect) is OracleVerdict.FALSIFIED


@given(st.text())
def test_never_fails(answer: str) -> None:
    assert judge(answer, {"a": 1}) is not OracleVerdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("expected", "found"),
    [(1, True), (True, 1), (0, False), ("1", 1), ({"a": 1}, 1), ([1], [1, 2]), ([1], 1), (None, 0)],
)
def test_values_of_another_type_are_others(expected: object, found: object) -> None:
    assert judge(json.dumps({"k": found}), {"k": expected}) is OracleVerdict.FALSIFIED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "twice"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[" * 100_000, "nested"),
        ("", "Expecting value"),
    ],
)
def test_what_json_does_not_allow(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_json(text)
