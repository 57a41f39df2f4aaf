"""Everything that a JSON Schema has against a document, in words for its author."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator, validators

from aprqa_ci.playbook.finding import Finding
from aprqa_ci.playbook.yaml_source import YamlPath, show_path
from aprqa_ci.wire import near_name

__all__ = ["schema_findings"]

_TYPE_NAMES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
_BOUNDS = {
    "exclusiveMaximum": "is {shown}; it must be less than {limit}",
    "exclusiveMinimum": "is {shown}; it must be more than {limit}",
    "maxItems": "has {size} items; at most {limit} are allowed",
    "maxLength": "has {size} characters; at most {limit} are allowed",
    "maxProperties": "has {size} entries; at most {limit} are allowed",
    "maximum": "is {shown}; it must be at most {limit}",
    "minItems": "has {size} items; at least {limit} must be given",
    "minLength": "has {size} characters; at least {limit} must be given",
    "minimum": "is {shown}; it must be at least {limit}",
}
_LONGEST_SHOWN = 60
_MOST_LISTED = 12
_MOST_FOUND = 1000


def _is_integer(_checker: object, value: object) -> bool:
    # JSON Schema takes 1.0 for an integer; the models, and people, do not.
    return isinstance(value, int) and not isinstance(value, bool)


_Error = Any
"""A jsonschema ValidationError, whose attributes are always set here; the stubs doubt it."""

_Validator: Any = validators.extend(  # type: ignore[no-untyped-call] # the stubs have no types for it
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def schema_findings(document: object, schema: Mapping[str, Any]) -> list[Finding]:
    """Return what is wrong with ``document``, each thing once, in no particular order.

    That is everything, unless it is more than a thousand things.

    Args:
        document: plain data, with no list of more than some thousand items: comparing the items of
            one can take time that grows with the square of their number.
        schema: a Draft 2020-12 schema made from our models.
    """
    found = _describe_all(_Validator(schema).iter_errors(document), schema)
    return list(dict.fromkeys(islice(found, _MOST_FOUND)))


def _describe_all(errors: Iterable[_Error], schema: Mapping[str, Any]) -> Iterator[Finding]:
    for error in errors:
        yield from _describe(error, schema)


def _describe(error: _Error, schema: Mapping[str, Any]) -> Iterator[Finding]:
    path: YamlPath = tuple(error.absolute_path)
    name = f"`{show_path(path)}`" if path else "the document"
    if "propertyNames" in error.absolute_schema_path:
        name = f"a key of {name}"
    shown = _shown(error.instance)
    keyword = str(error.validator)
    if keyword in _BOUNDS:
        size = len(error.instance) if isinstance(error.instance, str | list | dict) else 0
        what = _BOUNDS[keyword].format(shown=shown, size=size, limit=error.validator_value)
        yield Finding(path=path, what=f"{name} {what}")
        return
    match keyword:
        case "type":
            yield _wrong_type(path, name, error)
        case "enum":
            yield _not_among(
                path, name, error.instance, [str(one) for one in error.validator_value]
            )
        case "required":
            yield from _missing(path, error)
        case "additionalProperties":
            yield from _unknown(path, error)
        case "pattern":
            meaning = error.schema.get("x-expected") or f"text like {error.validator_value}"
            yield Finding(path=path, what=f"{name} is {shown}; expected {meaning}")
        case "uniqueItems":
            counts = Counter(map(_shown, error.instance))
            twice = ", ".join(sorted(one for one, count in counts.items() if count > 1))
            yield Finding(path=path, what=f"{name} lists {twice} more than once")
        case "anyOf":
            yield from _of_union(path, name, error, schema)
        case _:
            yield Finding(path=path, what=f"{name}: {error.message[:200]}")


def _wrong_type(path: YamlPath, name: str, error: _Error) -> Finding:
    expected, value = error.validator_value, error.instance
    if value is None:
        return Finding(path=path, what=f"{name} is empty; expected {_TYPE_NAMES[expected]}")
    hint = ""
    if expected == "string" and not isinstance(value, list | dict):
        hint = "put it in quotes"
    elif expected == "array" and not isinstance(value, dict):
        hint = f"write [{value}]"
    what = f"{name} is {_shown(value)}; expected {_TYPE_NAMES[expected]}"
    return Finding(path=path, what=what, hint=hint)


def _not_among(path: YamlPath, name: str, value: object, allowed: list[str]) -> Finding:
    listed = ", ".join(allowed[:_MOST_LISTED])
    if len(allowed) > _MOST_LISTED:
        listed += f" and {len(allowed) - _MOST_LISTED} more"
    what = f"{name} is {_shown(value)}; allowed: {listed}"
    return Finding(path=path, what=what, hint=near_name(str(value).lower(), allowed))


def _missing(path: YamlPath, error: _Error) -> Iterator[Finding]:
    for key in error.validator_value:
        if key not in error.instance:
            yield Finding(path=path, what=f"`{show_path((*path, key))}` is missing")


def _unknown(path: YamlPath, error: _Error) -> Iterator[Finding]:
    known = sorted(error.schema["properties"])
    for key in error.instance:
        if key not in known:
            what = f"unknown key `{_cut(show_path((*path, key)))}`"
            hint = near_name(key, known) or f"known here: {', '.join(known)}"
            yield Finding(path=(*path, key), what=what, hint=hint)


def _of_union(
    path: YamlPath, name: str, error: _Error, schema: Mapping[str, Any]
) -> Iterator[Finding]:
    """Describe the errors of the member that the value is meant to be."""
    branches = dict(enumerate(error.validator_value))
    tagged = error.schema.get("discriminator")
    if tagged is not None and isinstance(error.instance, dict):
        key, mapping = tagged["propertyName"], tagged["mapping"]
        if key not in error.instance:
            what = f"`{show_path((*path, key))}` is missing; allowed: {', '.join(mapping)}"
            yield Finding(path=path, what=what)
            return
        tag = error.instance[key]
        if not isinstance(tag, str) or tag not in mapping:
            here = (*path, key)
            yield _not_among(here, f"`{show_path(here)}`", tag, list(mapping))
            return
        branches = {
            number: branch
            for number, branch in branches.items()
            if branch.get("$ref") == mapping[tag]
        }
    else:
        branches = {
            number: branch
            for number, branch in branches.items()
            if _type_of(branch, schema) in _types(error.instance)
        }
    if not branches:
        kinds = [_type_of(branch, schema) for branch in error.validator_value]
        names = dict.fromkeys(_TYPE_NAMES[kind] for kind in kinds if kind != "null")
        what = f"{name} is {_shown(error.instance)}; expected {' or '.join(names)}"
        quote = "string" in kinds and not isinstance(error.instance, list | dict)
        yield Finding(path=path, what=what, hint="put it in quotes" if quote else "")
        return
    chosen = min(branches)
    inner = (one for one in error.context or () if one.relative_schema_path[0] == chosen)
    yield from _describe_all(inner, schema)


def _type_of(branch: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return the JSON type of a member of a union; members without one are enumerations."""
    while "$ref" in branch:
        branch = schema["$defs"][branch["$ref"].removeprefix("#/$defs/")]
    return str(branch.get("type", "string"))


def _types(value: object) -> set[str]:
    """Return the JSON types that ``value`` has."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
        case _:
            return {"object"}


def _shown(value: object) -> str:
    if isinstance(value, str):
        return _cut(repr(value))
    return _cut(json.dumps(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
