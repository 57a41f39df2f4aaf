"""Finding the line of a JSON text that a message speaks of."""

import json
import re
from collections.abc import Sequence

__all__ = ["line_at_byte", "line_of_place", "line_of_steps"]

_BLANKS = re.compile(r"[ \t\n\r]*")
_STEP = re.compile(r"\.(?P<name>[^.\[\]`]+)|\[(?P<index>\d+|\.\.\.)\]")
_PLACE = re.compile(r"at `(?:key in )?\$(?P<steps>[^`]*)`")
_BYTE = re.compile(r"\(byte (?P<offset>\d+)\)")

Step = str | int


def line_of_place(data: bytes | str, message: str) -> int | None:
    """Return the line, from 1, of the place that a message of msgspec names.

    ``… - at `$.cells[0].id` `` is a place in the value, ``(byte 17)`` one in the text. Returns
    nothing for a message that names no place, or one that is not there.
    """
    if found := _BYTE.search(message):
        return line_at_byte(data, int(found["offset"]))
    found = _PLACE.search(message)
    steps: list[Step] = []
    for step in _STEP.finditer(found["steps"] if found else ""):
        if step["index"] == "...":
            break
        steps.append(int(step["index"]) if step["index"] else step["name"])
    if found is None and not message.startswith("Object "):
        return None
    return line_of_steps(data, steps)


def line_at_byte(data: bytes | str, offset: int) -> int:
    """Return the line, from 1, of the byte with that offset."""
    encoded = data.encode() if isinstance(data, str) else data
    return encoded.count(b"\n", 0, offset) + 1


def line_of_steps(data: bytes | str, steps: Sequence[Step]) -> int | None:
    """Return the line, from 1, on which the value at the end of ``steps`` starts.

    Args:
        data: JSON text.
        steps: names of object members and indices of arrays, from the outermost on.
    """
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    try:
        position = _skip(text, 0)
        for step in steps:
            position = _member(text, position, step)
    except (ValueError, IndexError, RecursionError):
        return None
    return text.count("\n", 0, position) + 1


def _member(text: str, position: int, wanted: Step) -> int:
    """Return where a member of the object, or an entry of the array, at ``position`` starts.

    Raises:
        ValueError, IndexError: there is none, or the text is not JSON.
    """
    opening = text[position]
    if opening != ("{" if isinstance(wanted, str) else "["):
        raise ValueError(position)
    decoder = json.JSONDecoder()
    position, index = _skip(text, position + 1), 0
    while text[position] not in "}]":
        name: Step = index
        if opening == "{":
            name, position = decoder.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        if name == wanted:
            return position
        _, position = decoder.raw_decode(text, position)
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)
        index += 1
    raise ValueError(position)


def _skip(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position
