"""Live progress: a bar per running cell on a terminal, one line per cell elsewhere."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from aprqa_ci.execution.machine import Observer
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.vocabulary import Outcome

__all__ = ["progress"]

_ORDER = (
    Outcome.CORROBORATED,
    Outcome.FALSIFIED,
    Outcome.TIMEOUT,
    Outcome.CRASHED,
    Outcome.SKIPPED,
)


@contextmanager
def progress(out: Console) -> Iterator[Observer]:
    """Yield an observer that shows the run as it goes."""
    if not out.is_terminal:
        yield _Lines(out)
        return
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[tally]}"),
        console=out,
    )
    with bars:
        yield _Bars(bars)


def _tally(counts: Counter[Outcome]) -> str:
    return "  ".join(f"{counts[each]} {each.lower()}" for each in _ORDER if counts[each])


class _Lines:
    def __init__(self, out: Console) -> None:
        self._out = out
        self._counts: dict[str, Counter[Outcome]] = {}

    def cell_started(self, cell: PlannedCell, pending: int) -> None:
        del pending
        self._counts[cell.id] = Counter()

    def scenario_finished(self, result: ScenarioResult) -> None:
        self._counts[result.cell.id][result.outcome] += 1

    def cell_finished(self, cell: PlannedCell) -> None:
        self._out.print(Text(f"{cell.id}: {_tally(self._counts.pop(cell.id))}"))


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, Counter[Outcome]] = {}

    def cell_started(self, cell: PlannedCell, pending: int) -> None:
        self._counts[cell.id] = Counter()
        self._tasks[cell.id] = self._bars.add_task(cell.id, total=pending, tally="loading")

    def scenario_finished(self, result: ScenarioResult) -> None:
        counts = self._counts[result.cell.id]
        counts[result.outcome] += 1
        self._bars.update(self._tasks[result.cell.id], advance=1, tally=_tally(counts))

    def cell_finished(self, cell: PlannedCell) -> None:
        self._bars.update(self._tasks[cell.id], tally=_tally(self._counts[cell.id]))
