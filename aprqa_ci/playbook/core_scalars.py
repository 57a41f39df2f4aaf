"""The scalars of the YAML 1.2 core schema: what a piece of YAML text stands for.

Source: YAML 1.2.2, section 10.3. ``1e-5`` is a number; ``yes``, ``no``, ``on`` and ``off`` are
text; ``0o14`` is twelve and ``014`` is fourteen. Infinities and NaN are refused: no field has a use
for them and JSON cannot hold them.
"""

import math
import re

__all__ = ["CORE_TAG", "RefusedScalarError", "read_number", "resolve_plain", "resolve_tagged"]

CORE_TAG = "tag:yaml.org,2002:"

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_NUMBER_STARTS = frozenset("+-.0123456789")
_LONGEST_NUMBER = 64
_INTEGERS = range(-(1 << 63), 1 << 64)


class RefusedScalarError(ValueError):
    """The text stands for something that is not accepted here."""


def resolve_plain(text: str) -> str | int | float | bool | None:
    """Return what a scalar without quotes and tag stands for.

    Raises:
        RefusedScalarError: it is an infinity, NaN, or a number out of range.
    """
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] in _NUMBER_STARTS:
        number = read_number(text)
        if number is not None:
            return number
    return text


def read_number(text: str) -> int | float | None:
    """Return the number that ``text`` spells in the core schema, or nothing when it spells none.

    Raises:
        RefusedScalarError: it is an infinity, NaN, or a number out of range.
    """
    if _NOT_FINITE.fullmatch(text):
        msg = f"{text} is not a finite number"
        raise RefusedScalarError(msg)
    is_integer = _INTEGER.fullmatch(text) is not None
    if not is_integer and _FLOAT.fullmatch(text) is None:
        return None
    # Long digit strings cost quadratic time to convert, and no field takes such numbers.
    if len(text) > _LONGEST_NUMBER:
        msg = f"a number of {len(text)} characters is longer than {_LONGEST_NUMBER}"
        raise RefusedScalarError(msg)
    number = _integer(text) if is_integer else float(text)
    if isinstance(number, int) and number not in _INTEGERS:
        msg = f"{text} does not fit 64 bits"
        raise RefusedScalarError(msg)
    if not math.isfinite(number):
        msg = f"{text} is out of the range of numbers"
        raise RefusedScalarError(msg)
    return number


def resolve_tagged(text: str, tag: str) -> str | int | float | bool | None:
    """Return what a scalar with an explicit tag stands for.

    Args:
        text: the scalar's content.
        tag: the full tag; ``!`` alone means text.

    Raises:
        RefusedScalarError: the tag is not one of the core schema's, or the text does not fit it.
    """
    kind = tag.removeprefix(CORE_TAG)
    if tag == "!" or (kind == "str" and kind != tag):
        return text
    if kind == tag or kind not in {"null", "bool", "int", "float"}:
        msg = f"the tag {tag!r} is not accepted"
        raise RefusedScalarError(msg)
    value = resolve_plain(text)
    if kind == "float" and type(value) is int:
        return float(value)
    if (kind == "null" and value is None) or type(value).__name__ == kind:
        return value
    msg = f"{text!r} is no {kind}, as its tag says"
    raise RefusedScalarError(msg)


def _integer(text: str) -> int:
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
