"""A cell with a loaded model, as the checks see it, and what a check finds."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.protocol import (
    Answered,
    AskClients,
    CheckHealth,
    EngineFailed,
    LoadFailed,
    Profiled,
    Refused,
    Reply,
    SendMalformed,
)
from aprqa_ci.execution.result import Cause, Metrics
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook, PromptCase
from aprqa_ci.vocabulary import Outcome

__all__ = ["ComparedFiles", "Finding", "OpenCell", "unanswered"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found, with the figures that it judged."""

    outcome: Outcome
    reason: str
    figures: Mapping[str, object]
    metrics: Metrics = field(default_factory=Metrics)
    cause: Cause | None = None


class ComparedFiles(Protocol):
    """The files of a cell and those that they are compared with, as the checks see them."""

    def judged(self, gate_id: str) -> Finding:
        """Return what the files say to a gate."""
        ...

    def truth_answers(self, cases: Sequence[PromptCase]) -> tuple[Answered, ...] | str:
        """Return the ground truth's answers, or why there are none."""
        ...

    def converted_answers(self, cases: Sequence[PromptCase]) -> tuple[Answered, ...] | str:
        """Return the answers of the file that is converted from the cell's, or why not."""
        ...


class OpenCell(Protocol):
    """A cell whose model is loaded, as the checks see it."""

    @property
    def playbook(self) -> PlannedPlaybook:
        """The playbook of the cell."""
        ...

    @property
    def cell(self) -> PlannedCell:
        """The cell."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of the run."""
        ...

    @property
    def limits(self) -> Limits:
        """What checks compare with."""
        ...

    @property
    def context_length(self) -> int:
        """The loaded model's context, in tokens."""
        ...

    def ask(self, case: PromptCase) -> Reply:
        """Ask one question with the scenario's time limit."""
        ...

    def request(self, request: AskClients | SendMalformed | CheckHealth, *, answers: int) -> Reply:
        """Send another request that may take as long as so many answers."""
        ...

    def compare_weights(self) -> Reply:
        """Compare the weights with the ground truth's, in a process of its own."""
        ...

    def ground_truth(self) -> tuple[str, ...] | str:
        """Return the ground truth's answers to the probe prompts, or why there are none."""
        ...

    @property
    def files(self) -> ComparedFiles:
        """What the cell's files are compared with."""
        ...

    def timed_alone(self) -> AbstractContextManager[object]:
        """Return a context in which no other cell of this machine asks anything."""
        ...

    def measured(
        self, make: Callable[[], Sequence[Answered] | Finding]
    ) -> Sequence[Answered] | Finding:
        """Return the cell's timed answers, made at the first call."""
        ...

    @property
    def answers(self) -> Sequence[Answered]:
        """All answers that the cell gave so far, in order."""
        ...

    def profiled(self) -> Profiled | str | None:
        """Return what the engine measures of its own speed, or why it gives none.

        Nothing where nobody asks for it.
        """
        ...


def unanswered(reply: Reply) -> Finding:
    """Return the finding that a reply other than an answer makes: it speaks against the model."""
    if isinstance(reply, Refused):
        text = f"an ordinary prompt was refused: {reply.message}"
    elif isinstance(reply, EngineFailed):
        text = f"the engine failed: {reply.message}"
    elif isinstance(reply, LoadFailed):
        text = f"the files cannot be read: {reply.message}"
    else:
        text = f"unexpected reply: {type(reply).__name__}"
    return Finding(outcome=Outcome.FALSIFIED, reason=text, figures={})
