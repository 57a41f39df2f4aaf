"""Running cells of a plan on this machine.

Every planned scenario that is run, skipped or given up gets exactly one result. A scenario without
a result was interrupted; a resumed run does it.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from aprqa_ci.execution.cell_run import CellRun
from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.machine import Machine, Observer, RunEnvironment, RunStoppedError
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.planning.plan import Plan, PlannedCell

__all__ = ["run_cells"]


def run_cells(
    plan: Plan,
    cells: Iterable[str],
    *,
    environment: RunEnvironment,
    sink: Callable[[ScenarioResult], None],
    observer: Observer,
    done: Mapping[str, CellResult] | None = None,
    digests: Callable[[str, str, Mapping[str, str]], None] | None = None,
) -> None:
    """Run the named cells of the plan.

    Args:
        plan: the plan.
        cells: ids of cells of the plan.
        environment: the outside world.
        sink: takes each result, one at a time, before anything else learns of it.
        observer: watches.
        done: results of an earlier, interrupted run by scenario id; these are not run again.
        digests: takes the SHA-256 of each model file: playbook, variant, digests by file name.

    Raises:
        AprqaError: as raised by a signal handler. Every child is dead by then, and every finished
            result has been given to ``sink``.
        Exception: as raised by ``sink`` or ``observer``, which ends the run.
    """
    wanted = set(cells)
    machine = Machine(
        plan=plan,
        environment=environment,
        sink=sink,
        observer=observer,
        done=done or {},
        digests=digests,
    )
    pool = ThreadPoolExecutor(max_workers=max(1, environment.workers), thread_name_prefix="cell")
    futures: list[Future[None]] = []
    try:
        futures = [
            pool.submit(_run_cell, machine, cell) for cell in plan.cells if cell.id in wanted
        ]
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
    finally:
        machine.interrupt()
        for future in futures:
            future.cancel()
        pool.shutdown(wait=True)


def _run_cell(machine: Machine, cell: PlannedCell) -> None:
    pending = sum(scenario.id not in machine.done for scenario in cell.scenarios)
    if not pending or machine.interrupted:
        return
    machine.started(cell, pending)
    try:
        with tempfile.TemporaryDirectory(prefix="aprqa-") as scratch:
            CellRun(machine, cell, Path(scratch)).run()
    except RunStoppedError:
        machine.raise_failure()
        return
    machine.finished(cell)
