"""What of the last accepted certificate can be compared with a cell that is run here."""

from collections.abc import Callable

import msgspec

from aprqa_ci.execution.engines.interface import Engine, EngineAbsentError
from aprqa_ci.execution.engines.registry import describe
from aprqa_ci.planning.baseline import BaselineCell
from aprqa_ci.planning.plan import PlannedPlaybook

__all__ = ["baseline_cell", "like_before"]


def baseline_cell(playbook: PlannedPlaybook, cell: str, machine: str) -> BaselineCell | None:
    """Return what to compare a cell with; another kind of machine has another throughput.

    Args:
        playbook: with its baseline, if there is one.
        cell: the cell's id.
        machine: what kind of machine this is, in the words of the baseline's ``machines``.
    """
    baseline = playbook.baseline
    if baseline is None or cell not in baseline.cells:
        return None
    before = baseline.cells[cell]
    if machine in baseline.machines:
        return before
    return msgspec.structs.replace(before, tokens_per_second=None)


def like_before(playbook: PlannedPlaybook, machine: str, engine: Callable[[], Engine]) -> bool:
    """Whether revision, engine and kind of machine are those of the accepted certificate.

    Args:
        playbook: with its baseline, if there is one.
        machine: as above.
        engine: finds the cell's engine; raises ``EngineAbsentError`` where there is none.
    """
    baseline = playbook.baseline
    if baseline is None or machine not in baseline.machines:
        return False
    try:
        info = describe(engine())
    except EngineAbsentError:
        return False
    engines = {} if baseline.engines is msgspec.UNSET else baseline.engines
    return baseline.revision == playbook.model.revision and engines.get(info.name) == info.version
