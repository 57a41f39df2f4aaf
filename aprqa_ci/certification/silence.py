"""The observer of whoever brings none."""

from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.planning.plan import PlannedCell

__all__ = ["Silence"]


class Silence:
    """An :class:`~aprqa_ci.execution.machine.Observer` that says nothing."""

    def cell_started(self, cell: PlannedCell, pending: int) -> None:
        """Say nothing."""

    def scenario_finished(self, result: ScenarioResult) -> None:
        """Say nothing."""

    def cell_finished(self, cell: PlannedCell) -> None:
        """Say nothing."""
