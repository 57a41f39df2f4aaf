"""What reading the files says to one gate, and how a judge says it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError

__all__ = [
    "FindingState",
    "GateFinding",
    "Judge",
    "NotJudgedError",
    "Observation",
    "counted",
    "find",
    "listed",
]

_MAX_LISTED = 8
_MAX_TEXT = 2000


class FindingState(StrEnum):
    """Whether the files bear the gate's meaning out."""

    CORROBORATED = "corroborated"
    FALSIFIED = "falsified"
    SKIPPED = "skipped"
    """Not judged, for a reason that is no fault of the model; never a pass."""


@dataclass(frozen=True, kw_only=True)
class GateFinding:
    """One gate's finding."""

    gate_id: str
    state: FindingState
    reason: str
    """What was seen, in one or a few sentences."""
    details: str = ""
    """More of it, line by line."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a judge saw: problems, or what was shown by there being none."""

    problems: tuple[str, ...] = ()
    shown: str
    """What has been shown when there is no problem; names what was compared."""
    details: str = ""


class NotJudgedError(Exception):
    """There is nothing to judge by; the message says what is missing."""


Judge = Callable[[], Observation]
"""Looks at the files for one gate.

Raises:
    FormatError: a file that the gate needs is missing or damaged, which falsifies it.
    UnsupportedFormatError: a file may be sound and cannot be read here, which skips it.
    NotJudgedError: nothing can be said, which skips it.
"""


def find(gate_id: str, judge: Judge) -> GateFinding:
    """Let ``judge`` look, and put what it says into a finding."""
    try:
        seen = judge()
    except (NotJudgedError, UnsupportedFormatError) as error:
        return _finding(gate_id, FindingState.SKIPPED, f"not judged: {error}")
    except FormatError as error:
        return _finding(gate_id, FindingState.FALSIFIED, str(error))
    if seen.problems:
        reason = "; ".join(seen.problems[:_MAX_LISTED])
        if (more := len(seen.problems) - _MAX_LISTED) > 0:
            reason += f"; and {more} more"
        return _finding(gate_id, FindingState.FALSIFIED, reason, seen.details)
    return _finding(gate_id, FindingState.CORROBORATED, seen.shown, seen.details)


def listed(names: Iterable[object]) -> str:
    """Return the names as text, the first few of them when they are many."""
    every = [_printable(str(name)) for name in names]
    shown = ", ".join(every[:_MAX_LISTED])
    more = len(every) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown


def counted(number: int, what: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _finding(gate_id: str, state: FindingState, reason: str, details: str = "") -> GateFinding:
    return GateFinding(
        gate_id=gate_id,
        state=state,
        reason=_printable(reason)[:_MAX_TEXT],
        details="\n".join(_printable(line) for line in details.splitlines())[:_MAX_TEXT],
    )


def _printable(text: str) -> str:
    """Keep what a hostile file may name things from reaching a terminal as control codes."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
