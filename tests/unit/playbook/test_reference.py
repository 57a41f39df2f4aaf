"""``docs/playbook.md`` names every field, with its default, and no field that is not there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.data_files import data_directory
from aprqa_ci.playbook.load import parse_playbook

_ROW = re.compile(
    r"^\| `(?P<path>[^`]+)` \| (?P<value>[^|]*) \| (?P<default>[^|]*) \| (?P<effect>.*) \|$"
)
_FREE = {"metadata.tier"}
"""Documented keys of a section that takes any key."""


@pytest.fixture
def text(repository: Path) -> str:
    return (repository / "docs" / "playbook.md").read_text(encoding="utf-8")


@pytest.fixture
def rows(text: str) -> dict[str, re.Match[str]]:
    found = [row for row in map(_ROW.match, text.splitlines()) if row]
    by_path = {row["path"]: row for row in found}
    assert len(by_path) == len(found), "a field is documented twice"
    return {path: row for path, row in by_path.items() if path not in _FREE}


@pytest.fixture
def fields() -> dict[str, tuple[bool, Any]]:
    """Whether each field of the models is required, and its default."""
    file = data_directory().joinpath("schemas", "playbook.schema.json")
    schema = json.loads(file.read_text(encoding="utf-8"))
    found: dict[str, tuple[bool, Any]] = {}

    def walk(part: dict[str, Any], path: str) -> None:
        while "$ref" in part:
            part = schema["$defs"][part["$ref"].rpartition("/")[2]]
        for branch in part.get("anyOf", ()):
            walk(branch, path)
        if "items" in part:
            walk(part["items"], f"{path}[]")
        if isinstance(part.get("additionalProperties"), dict):
            walk(part["additionalProperties"], f"{path}.*")
        for name, field in part.get("properties", {}).items():
            here = f"{path}.{name}".removeprefix(".")
            found[here] = (name in part["required"], field.get("default"))
            walk(field, here)

    walk(schema, "")
    return found


def test_every_field_is_documented(
    rows: dict[str, re.Match[str]], fields: dict[str, tuple[bool, Any]]
) -> None:
    assert len(fields) > 100
    assert set(rows) == set(fields)
    for path, row in rows.items():
        assert row["value"].strip(), path
        assert row["effect"].strip(), path


def test_defaults_are_those_of_the_models(
    rows: dict[str, re.Match[str]], fields: dict[str, tuple[bool, Any]]
) -> None:
    for path, row in rows.items():
        required, default = fields[path]
        if required:
            assert row["default"] == "required", path
        elif default is None or isinstance(default, dict):
            assert row["default"] == "–", path
        else:
            assert json.loads(row["default"].strip("`")) == default, path


def test_the_example_is_a_playbook(text: str) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert parse_playbook(example.encode(), path=Path("p.yaml")).playbook.model.family == "qwen2"
