"""What the files of a cell say beside those that they are compared with."""

from collections.abc import Callable

from aprqa_ci.execution.checks.open_cell import Finding, OpenCell

__all__ = ["FILE_GATES", "file_check"]

FILE_GATES = (
    "F-CONTRACT-I2-001",
    "F-CONTRACT-I3-001",
    "F-CONTRACT-I4-001",
    "F-CONTRACT-I5-001",
    "F-APR-FORMAT-001",
    "F-APR-FORMAT-002",
    "F-APR-FORMAT-003",
    "F-ROSETTA-DIFF-001",
    "F-ROSETTA-DIFF-002",
    "F-ROSETTA-INF-002",
    "F-ROSETTA-FP-001",
    "F-ROSETTA-FP-002",
    "F-ROSETTA-FP-003",
    "F-ROSETTA-STATS-001",
    "F-ROSETTA-STATS-002",
    "F-ROSETTA-STATS-003",
    "F-ROSETTA-STATS-004",
    "F-ROSETTA-STATS-005",
    "F-ROSETTA-STATS-006",
)
"""The gates that need no loaded model; all of a cell are judged in one go."""


def file_check(gate_id: str) -> Callable[[OpenCell], Finding]:
    """Return the check of a gate that files alone speak for."""

    def check(cell: OpenCell) -> Finding:
        return cell.files.judged(gate_id)

    return check
