from typing import Any

import pytest

from aprqa_ci.playbook.template import fill_placeholders


def fill(data: Any, substitutions: dict[str, str] | None) -> tuple[Any, list[str]]:
    filled = fill_placeholders(data, substitutions)
    return filled.data, [f"{one.what} ({one.hint})" for one in filled.findings]


def test_values_are_filled_in_everywhere() -> None:
    data = {"a": "${X}-mvp", "b": [1, {"c": "${X}${Y}"}], "${X}": True}
    filled = fill_placeholders(data, {"X": "one", "Y": "two"})
    assert filled.data == {"a": "one-mvp", "b": [1, {"c": "onetwo"}], "${X}": True}
    assert set(filled.substituted) == {("a",), ("b", 1, "c")}
    assert filled.findings == ()
    assert data["a"] == "${X}-mvp"


def test_what_is_put_in_is_not_filled_in_again() -> None:
    assert fill({"a": "${X}"}, {"X": "${X}"})[0] == {"a": "${X}"}


def test_the_escape() -> None:
    assert fill({"a": "echo $${HOME} $$ ${X}"}, {"X": "1"}) == ({"a": "echo ${HOME} $$ 1"}, [])
    assert fill({"a": "echo $${HOME}"}, None) == ({"a": "echo ${HOME}"}, [])


@pytest.mark.parametrize("text", ["${}", "${1}", "${x:-1}", "$X", "{X}", "${X"])
def test_other_dollars_are_text(text: str) -> None:
    assert fill({"a": text}, None) == ({"a": text}, [])


def test_a_playbook_has_no_placeholders() -> None:
    _, findings = fill({"a": ["${MODEL_ID}"]}, None)
    assert findings == [
        (
            "`a[0]` has the placeholder ${MODEL_ID} (placeholders are for templates; write the"
            " value, or $${MODEL_ID} for that text)"
        )
    ]


def test_missing_and_unknown_placeholders() -> None:
    _, findings = fill({"a": "${MODEL_NAME}"}, {"MODEL_NAMES": "x", "Z": "y"})
    assert findings == [
        (
            "`a` has the placeholder ${MODEL_NAME}, which has no value"
            " (perhaps 'MODEL_NAMES' is meant)"
        ),
        "there is no placeholder ${MODEL_NAMES} in the template (perhaps 'MODEL_NAME' is meant)",
        "there is no placeholder ${Z} in the template ()",
    ]
