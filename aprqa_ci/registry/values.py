"""What the cells of models.csv mean, for the few that are compared or counted."""

import math
import re
from datetime import UTC, datetime, timedelta

__all__ = ["UNTESTED", "billions_of", "instant_of", "number_of", "same_value", "truth_of"]

UNTESTED = ("PENDING", "UNTESTED")
"""The statuses of models that nobody has tested; the time of such a row means nothing."""

_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_PARAMETERS = re.compile(r"(?P<count>[0-9]+(?:\.[0-9]+)?)(?P<unit>[BbMm])")
_INSTANT = re.compile(
    r"""
    (?P<seconds>[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2})
    (?:\.(?P<fraction>[0-9]{1,9}))?
    (?: [Zz] | (?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-5][0-9]) )
    """,
    re.VERBOSE,
)


def number_of(text: str) -> float | None:
    """Return a decimal number, or nothing where the cell holds none that is finite."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def truth_of(text: str) -> bool | None:
    """Return the meaning of ``true`` and ``false`` in any case, or nothing."""
    return {"true": True, "false": False}.get(text.lower())


def instant_of(text: str) -> tuple[datetime, int] | None:
    """Return an RFC 3339 time in UTC as whole seconds and nanoseconds, or nothing.

    The registry holds nine digits of a second, more than ``datetime`` can.
    """
    found = _INSTANT.fullmatch(text)
    if not found:
        return None
    try:
        seconds = datetime.fromisoformat(found["seconds"].upper()).replace(tzinfo=UTC)
        if found["sign"]:
            offset = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
            seconds += -offset if found["sign"] == "+" else offset
    except (ValueError, OverflowError):
        return None
    return seconds, int((found["fraction"] or "0").ljust(9, "0"))


def billions_of(parameters: str) -> float:
    """Return a model size in billions of parameters: ``135M`` is 0.135; 0 where none is named."""
    found = _PARAMETERS.fullmatch(parameters)
    if not found:
        return 0.0
    count = float(found["count"])
    return count / 1000 if found["unit"] in "Mm" else count


def same_value(old: str, new: str) -> bool:
    """Whether two cells say the same in other spellings: ``17.90``, ``TRUE``, another time zone."""
    if old == new:
        return True
    for meaning in (number_of, truth_of, instant_of):
        if (value := meaning(new)) is not None:
            return meaning(old) == value
    return False
