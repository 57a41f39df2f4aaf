"""Naming things in sentences: a few of them in full, the others by their number."""

from collections.abc import Sequence

from aprqa_ci.plain_text import one_line

__all__ = ["brief", "counted", "named"]

_SHOWN = 3


def brief(text: str, limit: int = 240) -> str:
    """Return ``text`` on one line, cut to ``limit`` characters; the evidence has all of it."""
    # A reason may be tens of kilobytes of engine output, of which only the head can be shown.
    line = one_line(text[: limit * 8])
    return line if len(line) <= limit else line[: limit - 1] + "…"


def named(subjects: Sequence[str], limit: int = 80) -> str:
    """Return the first few subjects as text, each cut, with the number of the others."""
    first = ", ".join(brief(subject, limit) for subject in subjects[:_SHOWN])
    rest = len(subjects) - _SHOWN
    return first if rest <= 0 else f"{first} and {rest} more"


def counted(number: int, noun: str) -> str:
    """Return ``1 record``, ``2 records``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
