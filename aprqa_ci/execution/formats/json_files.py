"""Reading the JSON files that lie beside a model's weights."""

from pathlib import Path
from typing import Any

from aprqa_ci.errors import InputError
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.files import read_bounded
from aprqa_ci.json_text import parse_json

__all__ = ["MAX_JSON_BYTES", "json_object", "read_json_object"]

MAX_JSON_BYTES = 64 << 20
"""The largest such file that is read; a tokenizer of 256 thousand tokens has some 20 MB."""


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        FormatError: the file is missing, too large, not JSON, or not an object.
    """
    if not path.is_file():
        raise FormatError(path, "there is no such file")
    try:
        data = read_bounded(path, MAX_JSON_BYTES)
    except InputError as error:
        raise FormatError(path, error.problems[0].what) from error
    return json_object(data, path)


def json_object(data: bytes, path: Path) -> dict[str, Any]:
    """Return the one JSON object that the bytes of a file are.

    Raises:
        FormatError: they are not JSON, or not an object.
    """
    try:
        value = parse_json(data)
    except ValueError as error:
        raise FormatError(path, f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(path, "not a JSON object")
    return value
