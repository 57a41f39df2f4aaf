"""Checking the data of one playbook: all that is wrong with it, or the playbook."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from aprqa_ci.data_files import data_directory
from aprqa_ci.playbook.conditions.condition import read_condition
from aprqa_ci.playbook.conditions.tokens import ConditionError
from aprqa_ci.playbook.finding import Finding
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.playbook.properties import property_findings
from aprqa_ci.playbook.yaml_source import YamlPath, show_path

__all__ = ["check_playbook", "control_characters", "foreign_section"]

# A playbook has none of these, and documents of other kinds are known by them.
_FOREIGN_SECTIONS: Mapping[str, str] = {
    "acceptance": "a verification document",
    "crash_patterns": "a specification",
    "entries": "a lock file",
    "garbage_oracle": "a specification",
    "gate": "a specification",
    "hypotheses": "a verification document",
    "regression_tests": "a verification document",
    "reproduction": "a verification document",
    "scenarios": "a specification",
    "spec": "a specification",
    "tests": "a verification document",
    "tools_required": "a verification document",
    "verification_gates": "a verification document",
}
_LONGEST_LIST = 1000
_LONGEST_CONDITION = 2048
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def foreign_section(data: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key that shows that a document is no playbook, and what it is instead."""
    for key in data:
        if key in _FOREIGN_SECTIONS:
            return key, _FOREIGN_SECTIONS[key]
    return None


def check_playbook(data: dict[str, Any]) -> tuple[Playbook | None, list[Finding]]:
    """Return the playbook that ``data`` is, or everything that keeps it from being one.

    Args:
        data: a playbook's data, legacy spellings made regular.
    """
    long = list(_long_lists(data, ()))
    if long:
        return None, long
    rules = list(_rules(data))
    try:
        playbook = msgspec.convert(data, type=Playbook)
    except msgspec.ValidationError as error:
        # msgspec stops at the first problem; the schema of the same models finds them all.
        findings = [*_schema_findings(data), *rules]
        return None, findings or [Finding(path=(), what=str(error))]
    return (None, rules) if rules else (playbook, [])


def control_characters(value: object, path: YamlPath = ()) -> Iterator[Finding]:
    """Find the characters that act on a screen instead of standing on it, keys included."""
    if isinstance(value, str):
        if found := _CONTROL.search(value):
            what = f"`{show_path(path)}` holds the control character U+{ord(found[0]):04X}"
            yield Finding(path=path, what=what)
    elif isinstance(value, dict):
        for key, item in value.items():
            if _CONTROL.search(key):
                what = f"the key `{show_path((*path, key))}` holds a control character"
                yield Finding(path=(*path, key), what=what)
            yield from control_characters(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from control_characters(item, (*path, number))


@cache
def _schema() -> dict[str, Any]:
    file = data_directory().joinpath("schemas", "playbook.schema.json")
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


def _schema_findings(data: dict[str, Any]) -> list[Finding]:
    # Loading jsonschema takes longer than loading all playbooks, and good files never need it.
    from aprqa_ci.playbook.schema_findings import schema_findings  # noqa: PLC0415 - see above

    return schema_findings(data, _schema())


def _long_lists(value: object, path: YamlPath) -> Iterator[Finding]:
    """Find lists that no field can hold, before anybody compares their items."""
    if isinstance(value, list) and len(value) > _LONGEST_LIST:
        what = f"`{show_path(path)}` has {len(value)} items; no list here takes so many"
        yield Finding(path=path, what=what)
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _long_lists(item, (*path, key))


def _rules(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what neither types nor schema can say."""
    seen: set[str] = set()
    oracles = data.get("oracles")
    for number, entry in enumerate(oracles if isinstance(oracles, list) else ()):
        kind = entry.get("type") if isinstance(entry, dict) else None
        if isinstance(kind, str) and kind in seen:
            what = f"`oracles[{number}]` is the oracle {kind!r} again"
            hint = "put all settings of one oracle together"
            yield Finding(path=("oracles", number), what=what, hint=hint)
        elif isinstance(kind, str):
            seen.add(kind)
    yield from property_findings(data.get("property_tests"))
    yield from _condition_findings(data.get("falsification_gates"))
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and "tier" in metadata:
        tier = metadata["tier"]
        if not (isinstance(tier, str) and tier):
            what = "`metadata.tier` must be the name of a tier, as text"
            yield Finding(path=("metadata", "tier"), what=what)


def _condition_findings(gates: object) -> Iterator[Finding]:
    """Find conditions that cannot be read, and gates that share an id."""
    seen: set[str] = set()
    for number, gate in enumerate(gates if isinstance(gates, list) else ()):
        if not isinstance(gate, dict):
            continue
        name, condition = gate.get("id"), gate.get("condition")
        if isinstance(name, str) and name.casefold() in seen:
            what = f"`falsification_gates[{number}]` is the gate {name!r} again"
            yield Finding(path=("falsification_gates", number, "id"), what=what)
        elif isinstance(name, str):
            seen.add(name.casefold())
        if isinstance(condition, str) and 0 < len(condition) <= _LONGEST_CONDITION:
            try:
                read_condition(condition)
            except ConditionError as error:
                what = (
                    f"`falsification_gates[{number}].condition`: {error.what} (column "
                    f"{error.column})"
                )
                path = ("falsification_gates", number, "condition")
                yield Finding(path=path, what=what, hint=error.hint)
