"""Strict, versioned models for everything written to disk or sent between jobs."""

import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded, sha256_bytes
from aprqa_ci.json_lines import line_of_place

__all__ = [
    "MAX_WIRE_BYTES",
    "WireModel",
    "canonical_json",
    "decode_wire",
    "digest_of",
    "near_name",
    "pretty_json",
    "read_wire",
]

MAX_WIRE_BYTES = 256 << 20
"""The most bytes of JSON that are read from one file."""

ModelT = TypeVar("ModelT")

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")


class WireModel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """Base of all wire models: frozen, keyword-only, unknown keys are errors.

    A misspelled key would otherwise be dropped silently, and with it what its author meant.

    What is read from JSON is a tree. The collector of circles would go through hundreds of
    thousands of records again and again and find none.
    """


def near_name(name: str, known: list[str]) -> str:
    """Return ``perhaps 'x' is meant`` for the known name nearest to ``name``, or nothing."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"perhaps {matches[0]!r} is meant" if matches else ""


def decode_wire(data: bytes | str, model: type[ModelT], *, source: Path | str) -> ModelT:
    """Decode JSON text into ``model``.

    Args:
        data: JSON text.
        model: a wire model, or any type msgspec knows.
        source: the file named in messages.

    Raises:
        InputError: the text is not JSON or does not fit the model.
    """
    try:
        return msgspec.json.decode(data, type=model)
    except msgspec.ValidationError as error:
        what = str(error)
        hint = ""
        if found := _UNKNOWN_FIELD.search(what):
            hint = near_name(found["name"], _field_names(model))
        line = line_of_place(data, what)
        raise InputError(Problem(what=what, path=source, line=line, hint=hint)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        what = f"not valid JSON: {error}"
        line = line_of_place(data, what)
        raise InputError(Problem(what=what, path=source, line=line)) from error


def read_wire(path: Path, model: type[ModelT]) -> ModelT:
    """Read a JSON file into ``model``.

    Raises:
        InputError: the file is missing, too large, not JSON, or does not fit the model.
    """
    return decode_wire(read_bounded(path, MAX_WIRE_BYTES), model, source=path)


def canonical_json(value: object) -> bytes:
    """Encode ``value`` in the one spelling that digests are taken of: sorted keys, no spaces."""
    return msgspec.json.encode(value, order="sorted")


def pretty_json(value: object) -> bytes:
    """Encode ``value`` for people and line-wise diffs: two spaces, a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def digest_of(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``."""
    return sha256_bytes(canonical_json(value))


def _field_names(model: object) -> list[str]:
    """Return every field name of a wire model and of the models inside it."""
    schema: dict[str, Any] = msgspec.json.schema(model)
    names: set[str] = set()
    for definition in (schema, *schema.get("$defs", {}).values()):
        names.update(definition.get("properties", {}))
    return sorted(names)
