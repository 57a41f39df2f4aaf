"""Running hand-made plans on the real engines, and looking on."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.execution.machine import RunEnvironment
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.execution.run import run_cells
from aprqa_ci.planning.plan import Plan, PlannedCell
from aprqa_ci.vocabulary import Outcome

__all__ = ["Onlooker", "Results", "run"]


class Onlooker:
    """An observer that keeps what it sees, and may meddle after each result."""

    def __init__(self, meddle: Callable[[ScenarioResult, int], None] | None = None) -> None:
        self._meddle = meddle
        self.events: list[str] = []
        self.seen = 0

    def cell_started(self, cell: PlannedCell, pending: int) -> None:
        """Keep it."""
        self.events.append(f"started {cell.id} {pending}")

    def scenario_finished(self, result: ScenarioResult) -> None:
        """Count it, and meddle."""
        self.seen += 1
        if self._meddle is not None:
            self._meddle(result, self.seen)

    def cell_finished(self, cell: PlannedCell) -> None:
        """Keep it."""
        self.events.append(f"finished {cell.id}")


class Results:
    """What came of a plan: exactly one result for each scenario."""

    def __init__(self, plan: Plan, results: list[ScenarioResult]) -> None:
        counts = Counter(result.scenario.id for result in results)
        planned = [scenario.id for cell in plan.cells for scenario in cell.scenarios]
        assert counts == Counter(planned)
        self.all = {result.scenario.id: result for result in results}
        self.in_order = results

    def of(self, name: str, cell: PlannedCell | None = None) -> ScenarioResult:
        """Return the result of ``001`` or of a gate, in the named or the only cell."""
        found = [
            result
            for result in self.all.values()
            if result.scenario.id.partition("#")[2] == name
            and (cell is None or result.cell.id == cell.id)
        ]
        assert len(found) == 1, f"{len(found)} results of {name}"
        return found[0]

    def outcomes(self, cell: PlannedCell | None = None) -> dict[str, str]:
        """Return what became of each scenario: the outcome, and the cause of a skip."""
        return {
            key.partition("#")[2] if cell is not None or len(self._cells()) == 1 else key: str(
                result.outcome
            )
            + (f" {result.cause}" if result.outcome is Outcome.SKIPPED else "")
            for key, result in self.all.items()
            if cell is None or result.cell.id == cell.id
        }

    def _cells(self) -> set[str]:
        return {result.cell.id for result in self.all.values()}


def run(
    plan: Plan,
    root: Path,
    *,
    workers: int = 1,
    done: Mapping[str, CellResult] | None = None,
    observer: Onlooker | None = None,
    digests: Callable[[str, str, Mapping[str, str]], None] | None = None,
    sink: Callable[[ScenarioResult], None] | None = None,
    machine: str = "",
    cells: Iterable[PlannedCell] | None = None,
    engine_options: EngineOptions = MappingProxyType({}),
) -> Results:
    """Run all cells of a plan, or those given, whose models lie below ``root``."""
    results: list[ScenarioResult] = []
    chosen = tuple(plan.cells if cells is None else cells)
    run_cells(
        plan,
        [cell.id for cell in chosen],
        environment=RunEnvironment(
            environment={"PATH": os.environ["PATH"], "HOME": str(root)},
            home=root,
            root=root,
            now=lambda: datetime.now(UTC),
            workers=workers,
            machine=machine,
            engine_options=engine_options,
        ),
        sink=sink or results.append,
        observer=observer or Onlooker(),
        done=done,
        digests=digests,
    )
    return Results(_without(replace(plan, cells=chosen), done or {}), results)


def _without(plan: Plan, done: Mapping[str, CellResult]) -> Plan:
    cells = tuple(
        replace(cell, scenarios=tuple(each for each in cell.scenarios if each.id not in done))
        for cell in plan.cells
    )
    return replace(plan, cells=cells)
