"""Every way in which aprqa can stop, in one place.

Each class has an exit code of its own, and the codes are a contract with the scripts and workflows
that call ``aprqa``:

====  ==========================================================================
code  meaning
====  ==========================================================================
0     done, and the verdict is good (no exception)
1     the model fell short
2     the input or the usage is wrong
3     inconclusive: our machinery or the machine failed, so there is no verdict
4     the verdict is good and could not be delivered: no comment, no pull request
130   interrupted (SIGINT)
143   terminated (SIGTERM)
====  ==========================================================================

A message says what happened, where, why, and what to do about it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

__all__ = [
    "AprqaError",
    "DeliveryError",
    "InconclusiveError",
    "InputError",
    "InterruptedRunError",
    "ModelFellShortError",
    "Problem",
    "TerminatedRunError",
]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with something a user gave us."""

    what: str
    """What is wrong, as a full sentence without the place."""
    path: Path | str | None = None
    """The file it is in."""
    line: int | None = None
    """The line in that file, counted from 1."""
    hint: str = ""
    """What to do about it."""

    def __str__(self) -> str:
        where = "" if self.path is None else str(self.path)
        if where and self.line is not None:
            where += f":{self.line}"
        text = f"{where}: {self.what}" if where else self.what
        return f"{text} ({self.hint})" if self.hint else text


class AprqaError(Exception):
    """Base of every error that aprqa reports to its user."""

    exit_code: ClassVar[int] = 3


class ModelFellShortError(AprqaError):
    """The work is done and the model did not earn its certificate."""

    exit_code: ClassVar[int] = 1


class InputError(AprqaError):
    """A file, an argument or a combination of them is wrong; nothing was changed.

    Carries every problem found, so that a user mends all of them in one round.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, problems: str | Problem | Iterable[Problem]) -> None:
        if isinstance(problems, str):
            problems = Problem(what=problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InconclusiveError(AprqaError):
    """Our machinery or the machine failed: there is no verdict on the model."""

    exit_code: ClassVar[int] = 3


class DeliveryError(AprqaError):
    """The verdict stands, and GitHub did not take what was to be published of it."""

    exit_code: ClassVar[int] = 4


class InterruptedRunError(AprqaError):
    """The user interrupted the run (SIGINT); what was recorded is kept."""

    exit_code: ClassVar[int] = 130


class TerminatedRunError(AprqaError):
    """The run was told to end (SIGTERM); what was recorded is kept."""

    exit_code: ClassVar[int] = 143
