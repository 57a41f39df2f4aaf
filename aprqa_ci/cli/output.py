"""What people see: the console, the verdict and the tables."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.errors import InconclusiveError, ModelFellShortError
from aprqa_ci.evidence.merging import Attempts
from aprqa_ci.plain_text import one_line, shorten, visible
from aprqa_ci.scoring.score import Score, Verdict
from aprqa_ci.vocabulary import GatewayState, Outcome, Status

__all__ = [
    "attempt_lines",
    "console",
    "raise_for",
    "raise_for_scores",
    "raise_for_verdicts",
    "show_failures",
    "show_paths",
    "show_score",
    "write_out",
]

_STATUS_STYLES = {
    Status.CERTIFIED: "bold green",
    Status.PROVISIONAL: "bold yellow",
    Status.BLOCKED: "bold red",
    Status.INCONCLUSIVE: "bold magenta",
}
_STATE_STYLES = {
    GatewayState.PASSED: "green",
    GatewayState.FAILED: "red",
    GatewayState.NOT_EVALUATED: "magenta",
}
_WIDTH = 110
_MOST_FAILURES = 10
_MOST_TEXT = 160


class _Console(Console):
    """A console that a run outlives: when its reader goes, the work goes on in silence.

    What is printed on it shows and does nothing: much of it holds words of strangers.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - rich's own settings
        super().__init__(markup=False, highlight=False, emoji=False, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:  # noqa: ANN401 - rich's own types
        super().print(*(_shown(each) for each in objects), **settings)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _discard_output()


def console(*, stderr: bool = False) -> Console:
    """Return the console; not on a terminal, it is wide and plain, for logs and pipes."""
    made = _Console(stderr=stderr)
    if not made.is_terminal:
        made = _Console(stderr=stderr, width=_WIDTH, no_color=True)
    return made


def write_out(text: str) -> None:
    """Write text for programs to standard output; that its reader has gone is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    # What is left in the buffer would fail again when the interpreter flushes it at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def show_score(out: Console, score: Score) -> None:
    """Show gateways, categories, MQS, grade, status, and what is flaky."""
    name = score.playbook or score.model_id
    table = Table(
        title=Text(f"{_short(name)}: gateways"), title_justify="left", box=None, pad_edge=False
    )
    table.add_column("gateway")
    table.add_column("state")
    table.add_column("why")
    for gateway, result in score.gateways.items():
        why = "; ".join(result.reasons)
        table.add_row(
            str(gateway),
            Text(result.state.replace("_", " "), style=_STATE_STYLES[result.state]),
            Text(_short(why)),
        )
    out.print(table)
    out.print()
    table = Table(title="categories", title_justify="left", box=None, pad_edge=False)
    table.add_column("category")
    for column in ("corroborated", "planned", "points", "of"):
        table.add_column(column, justify="right")
    for category, entry in score.categories.items():
        if not entry.tally.planned:
            table.add_row(str(category), "-", "-", "-", "-")
            continue
        table.add_row(
            str(category),
            str(entry.tally.corroborated),
            str(entry.tally.planned),
            f"{float(entry.points):.1f}",
            f"{float(entry.maximum):.1f}",
        )
    out.print(table)
    out.print()
    rate = score.pass_rate
    verdict = Text.assemble(
        ("MQS ", "bold"),
        f"{score.mqs} of 1000   ",
        ("grade ", "bold"),
        f"{score.grade}   ",
        ("status ", "bold"),
        (str(score.status), _STATUS_STYLES[score.status]),
        f"   pass rate {rate.rate:.1%} (95 % interval {rate.low:.1%} to {rate.high:.1%})",
    )
    out.print(verdict)
    for obstacle in score.obstacles:
        out.print(Text(f"  - {_short(obstacle)}"))
    for flaky in score.flaky[:_MOST_FAILURES]:
        out.print(Text(f"  flaky: {one_line(flaky.scenario)}: {flaky.ends_text}"), soft_wrap=True)
    if len(score.flaky) > _MOST_FAILURES:
        out.print(f"  … and {len(score.flaky) - _MOST_FAILURES} more flaky scenarios")


def show_failures(out: Console, score: Score) -> None:
    """Show the first failures and skips, with their reasons."""
    against = [
        entry
        for entry in score.scenarios
        if entry.outcome is None or entry.outcome is not Outcome.CORROBORATED
    ]
    for entry in against[:_MOST_FAILURES]:
        word = str(entry.outcome or "missing")
        out.print(Text(f"  {word:<12} {_short(entry.scenario)}: {_short(entry.reason)}"))
    if len(against) > _MOST_FAILURES:
        out.print(f"  … and {len(against) - _MOST_FAILURES} more; see the report")


def attempt_lines(merged: Attempts) -> list[str]:
    """Return what is to be said of attempts that do not count."""
    lines = [f"{name} does not count: a better attempt is there" for name in merged.superseded]
    lines += [f"{name} tested other model files: not compared" for name in merged.incomparable]
    return lines


def show_paths(out: Console, paths: Sequence[Path]) -> None:
    """Show which files were written."""
    for path in paths:
        out.print(Text(f"  wrote {path}"))


def raise_for(bundles: Sequence[Bundle]) -> None:
    """End with the exit code of the verdicts.

    Raises:
        ModelFellShortError: a model fell short.
        InconclusiveError: none did, and a run came to no verdict.
    """
    raise_for_scores([bundle.score for bundle in bundles])


def raise_for_scores(scores: Sequence[Score]) -> None:
    """Like ``raise_for``, for scores."""
    raise_for_verdicts([score.verdict for score in scores])


def raise_for_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Like ``raise_for``, for verdicts."""
    if "fell_short" in verdicts:
        raise ModelFellShortError
    if "inconclusive" in verdicts:
        raise InconclusiveError


def _shown(printed: Any) -> Any:  # noqa: ANN401 - whatever can be printed
    if isinstance(printed, str):
        return visible(printed)
    if isinstance(printed, Text) and (plain := visible(printed.plain)) != printed.plain:
        return Text(plain, style=printed.style)
    return printed


def _short(text: str) -> str:
    return shorten(one_line(text), _MOST_TEXT)
