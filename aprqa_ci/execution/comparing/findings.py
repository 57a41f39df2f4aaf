"""What a comparison of files found, and how its tests say it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aprqa_ci.execution.comparing.statistics import ReferenceAbsentError
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.plain_text import one_line

__all__ = ["FileTestFinding", "NothingComparedError", "Seen", "find"]

_MAX_TEXT = 2000


class NothingComparedError(Exception):
    """What the playbook selects is nothing; agreement on nothing shows nothing."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a test saw: problems, or what was shown by there being none."""

    shown: str
    """What has been shown when there is no problem; says how much was compared."""
    problems: Sequence[str] = ()
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FileTestFinding:
    """What the files say to one gate."""

    gate_id: str
    state: Literal["corroborated", "falsified", "skipped"]
    reason: str
    figures: Mapping[str, object] = field(default_factory=dict)
    cause: str = ""
    """Of a skip: ``policy`` where the playbook leaves nothing to compare, else
    ``infrastructure``; with a word."""


def find(gate_id: str, test: Callable[[], Seen]) -> FileTestFinding:
    """Let a test look, and put what it says into a finding.

    A file that is damaged falsifies; one of a kind that is not known here, and a playbook that
    leaves nothing to compare, are not judged.
    """
    try:
        seen = test()
    except (UnsupportedFormatError, NotJudgedError) as error:
        return _skipped(gate_id, error, "infrastructure:not-judged")
    except NothingComparedError as error:
        return _skipped(gate_id, error, "policy:nothing-to-compare")
    except ReferenceAbsentError as error:
        return _skipped(gate_id, error, "policy:no-reference")
    except FormatError as error:
        return FileTestFinding(gate_id=gate_id, state="falsified", reason=_text(str(error)))
    reason = "; ".join(seen.problems[:4])
    if len(seen.problems) > 4:
        reason += f"; and {len(seen.problems) - 4} more"
    return FileTestFinding(
        gate_id=gate_id,
        state="falsified" if seen.problems else "corroborated",
        reason=_text(f"{reason} ({seen.shown})" if seen.problems else seen.shown),
        figures=seen.figures,
    )


def _skipped(gate_id: str, error: Exception, cause: str) -> FileTestFinding:
    return FileTestFinding(
        gate_id=gate_id, state="skipped", reason=_text(f"not judged: {error}"), cause=cause
    )


def _text(text: str) -> str:
    return one_line(text)[:_MAX_TEXT]
