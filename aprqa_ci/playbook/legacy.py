"""Legacy spellings of playbooks, made regular with one warning for each place.

Nothing is guessed: a spelling is changed only where the model expects another type and the text can
mean one thing alone. Everything else is left to the strict validation that follows.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec.inspect as types

from aprqa_ci.playbook.core_scalars import RefusedScalarError, read_number
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.playbook.warning import WarningKind
from aprqa_ci.playbook.yaml_source import YamlPath, show_path

__all__ = ["NoteWarning", "make_regular"]

NoteWarning = Callable[[WarningKind, YamlPath, str, str], None]
"""Takes the kind, the path, what was found, and what to write instead."""

_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}
_POLICIES = frozenset({"stop-on-first", "stop-on-p0", "collect-all", "fail-fast"})
# The published schema has no dot, and most names that its authors gave have one.
_USUAL_NAME = re.compile(r"[a-z0-9.-]{1,64}")


def make_regular(
    data: dict[str, Any],
    note: NoteWarning,
    *,
    template: bool = False,
    substituted: Iterable[YamlPath] = (),
) -> dict[str, Any]:
    """Return a playbook's data with its legacy spellings made regular.

    Args:
        data: the data as it was read; not changed.
        note: called once for each place.
        template: whether the data is a filled-in template, where ``size_category: auto`` stands
            for the default.
        substituted: paths whose text was put in for a placeholder; text is all they can be, so a
            number or boolean there is no legacy spelling.
    """
    data = dict(data)
    _regular_name(data, note)
    _regular_policy(data, note)
    _regular_property_tests(data, note)
    if template:
        _regular_size(data, note)
    regular: dict[str, Any] = _Typed(note, frozenset(substituted)).walk(data, _playbook_type(), ())
    return regular


@cache
def _playbook_type() -> types.Type:
    return types.type_info(Playbook)


def _regular_name(data: dict[str, Any], note: NoteWarning) -> None:
    name = data.get("name")
    if isinstance(name, str) and not _USUAL_NAME.fullmatch(name):
        what = "the name is unlike those of the format, which are of a-z 0-9 . -, 64 at most"
        note(WarningKind.UNUSUAL_NAME, ("name",), what, "other tools may refuse it")


def _regular_policy(data: dict[str, Any], note: NoteWarning) -> None:
    policy = data.get("failure_policy")
    if isinstance(policy, str) and policy in _POLICIES:
        regular = policy.replace("-", "_")
        what = f"`failure_policy` is spelled {policy!r}"
        note(WarningKind.HYPHENATED_POLICY, ("failure_policy",), what, f"write {regular}")
        data["failure_policy"] = regular


def _regular_property_tests(data: dict[str, Any], note: NoteWarning) -> None:
    tests = data.get("property_tests")
    if isinstance(tests, list):
        what = "`property_tests` is a list"
        hint = "write a mapping with the list under `tests`"
        note(WarningKind.PROPERTY_TEST_LIST, ("property_tests",), what, hint)
        data["property_tests"] = {"tests": tests}


def _regular_size(data: dict[str, Any], note: NoteWarning) -> None:
    model = data.get("model")
    if isinstance(model, dict) and model.get("size_category") == "auto":
        what = "`model.size_category` is 'auto'; the default is taken"
        note(WarningKind.AUTO_SIZE, ("model", "size_category"), what, "write the size")
        data["model"] = {key: value for key, value in model.items() if key != "size_category"}


class _Typed:
    """Walks data along the types of the model and unquotes booleans and numbers."""

    def __init__(self, note: NoteWarning, substituted: frozenset[YamlPath]) -> None:
        self._note = note
        self._substituted = substituted

    def walk(self, value: Any, expected: types.Type, path: YamlPath) -> Any:  # noqa: ANN401 - YAML holds anything
        expected = _fitting(value, expected)
        match expected, value:
            case types.StructType(), dict():
                fields = {field.encode_name: field.type for field in expected.fields}
                return {
                    key: self.walk(item, fields[key], (*path, key)) if key in fields else item
                    for key, item in value.items()
                }
            case types.VarTupleType(), list():
                return [
                    self.walk(item, expected.item_type, (*path, number))
                    for number, item in enumerate(value)
                ]
            case types.DictType(), dict():
                return {
                    key: self.walk(item, expected.value_type, (*path, key))
                    for key, item in value.items()
                }
            case types.BoolType(), str():
                return self._boolean(value, path)
            case ((types.IntType() | types.FloatType()), str()):
                return self._number(value, path)
            case _:
                return value

    def _boolean(self, text: str, path: YamlPath) -> str | bool:
        value = _BOOLEANS.get(text.lower())
        if value is None:
            return text
        self._warn(WarningKind.QUOTED_BOOLEAN, path, text, str(value).lower())
        return value

    def _number(self, text: str, path: YamlPath) -> str | int | float:
        try:
            value = read_number(text)
        except RefusedScalarError:
            return text
        if value is None:
            return text
        self._warn(WarningKind.QUOTED_NUMBER, path, text, text)
        return value

    def _warn(self, kind: WarningKind, path: YamlPath, text: str, regular: str) -> None:
        if path not in self._substituted:
            what = f"`{show_path(path)}` is the text {text!r}"
            self._note(kind, path, what, f"write {regular} without quotes")


def _fitting(value: object, expected: types.Type) -> types.Type:
    """Return the member of a union that ``value`` can only mean; other types as they are."""
    while isinstance(expected, types.Metadata):
        expected = expected.type
    if not isinstance(expected, types.UnionType):
        return expected
    members = [_fitting(None, member) for member in expected.types]
    if isinstance(value, dict):
        tag = value.get("type")
        for member in members:
            if isinstance(member, types.DictType) or (
                isinstance(member, types.StructType) and (member.tag is None or member.tag == tag)
            ):
                return member
    elif isinstance(value, list):
        return next((one for one in members if isinstance(one, types.VarTupleType)), expected)
    elif not any(isinstance(one, types.StrType | types.EnumType) for one in members):
        scalars = (types.BoolType, types.IntType, types.FloatType)
        return next((one for one in members if isinstance(one, scalars)), expected)
    return expected
