"""A step of a workflow under way: what it was given, and where what it says goes."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.steps import Surroundings
from aprqa_ci.errors import AprqaError, InputError, Problem
from aprqa_ci.github.context import EventContext
from aprqa_ci.github.inputs import ActionInputs
from aprqa_ci.github.outputs import append_summary, set_outputs
from aprqa_ci.github.workflow_commands import Annotation, Level
from aprqa_ci.plain_text import visible
from aprqa_ci.redaction import Redaction, redaction_of

__all__ = ["MOST_NAMED", "ActionStep", "log_console", "named", "said_of", "silence", "write"]

MOST_NAMED = 20
"""How many things one annotation names."""
_LOG_WIDTH = 110


@dataclass(frozen=True, kw_only=True)
class ActionStep:
    """A step under way; its annotations are written when foreign text can no longer give orders."""

    inputs: ActionInputs
    context: EventContext
    environment: Mapping[str, str]
    out: Console
    annotations: list[Annotation] = field(default_factory=list)
    redaction: Redaction = field(default_factory=lambda: redaction_of({}))
    """Takes the job's secrets, which ``environment`` lacks, out of what is said."""

    @property
    def surroundings(self) -> Surroundings:
        """The outside world of what the step runs."""
        return Surroundings(
            environment=self.environment,
            workers=self.inputs.workers,
            redaction=self.redaction,
        )

    def say(self, text: str) -> None:
        """Print a line that may hold words of others."""
        self.out.print(Text(self.redaction(visible(text))), soft_wrap=True)

    def note(self, level: Level, title: str, message: str, file: str = "") -> None:
        """Annotate the run when the step ends."""
        self.annotations.append(Annotation(level=level, title=title, message=message, file=file))

    def outputs(self, values: Mapping[str, str]) -> None:
        """Set outputs of the step."""
        if path := self.environment.get("GITHUB_OUTPUT"):
            set_outputs(Path(path), values)

    def summary(self, markdown: str) -> None:
        """Add to the summary of the step."""
        if path := self.environment.get("GITHUB_STEP_SUMMARY"):
            append_summary(Path(path), markdown)


def said_of(error: AprqaError, redaction: Redaction) -> list[Annotation]:
    """Print an error without secrets, and return it as annotations."""
    if isinstance(error, InputError):
        problems = list(error.problems)
    else:
        problems = [Problem(what=str(error))] if str(error) else []
    for problem in problems:
        write(redaction(visible(f"error: {problem}")) + "\n")
    return [
        Annotation(
            level=Level.ERROR,
            title="aprqa",
            message=f"{problem.what} ({problem.hint})" if problem.hint else problem.what,
            file="" if problem.path is None else str(problem.path),
            line=problem.line,
        )
        for problem in problems
    ]


def silence(error: AprqaError) -> None:
    """Leave of an error the exit code alone: what it says is printed, where it gives no orders."""
    error.args = ()
    if isinstance(error, InputError):
        error.problems = ()


def named(names: Sequence[str]) -> str:
    """Return the first of the names, one a line, and how many more there are."""
    shown = list(names[:MOST_NAMED])
    if len(names) > MOST_NAMED:
        shown.append(f"… and {len(names) - MOST_NAMED} more")
    return "\n".join(shown)


def log_console() -> Console:
    """Return a console for logs: some runners give a step a terminal, and nobody looks at it."""
    return Console(
        markup=False,
        force_terminal=False,
        highlight=False,
        emoji=False,
        no_color=True,
        width=_LOG_WIDTH,
    )


def write(text: str) -> None:
    """Write to the log at once: what is printed by others must not come between."""
    sys.stdout.write(text)
    sys.stdout.flush()
