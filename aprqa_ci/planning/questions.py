"""Whether two runs put the same questions to a cell."""

from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.wire import digest_of

__all__ = ["questions_digest"]


def questions_digest(cell: PlannedCell) -> str:
    """Return the SHA-256 of the cell's questions by their scenarios, with what judges the answers.

    A scenario's id counts the questions of its cell. Another seed, or another version of a suite,
    puts others in their places, and an answer to one says nothing of the answer to the other.
    """
    return digest_of({each.id: each.prompt for each in cell.scenarios if each.prompt is not None})
