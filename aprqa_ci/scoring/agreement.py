"""Whether cells gave the same answers to the same prompts, as far as quantization allows."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from aprqa_ci.execution.checks.comparison import similarity
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.plan import GroundTruth, PlannedCell
from aprqa_ci.playbook.conditions.evaluation import Answers, Missing, Value
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Backend, ModelFormat

__all__ = ["alike", "answers_of", "mean_similarity", "required_agreement"]

CellAnswers = tuple[str, str | None, tuple[str, ...]]


def answers_of(
    cell: PlannedCell,
    figures: Mapping[str, Any],
    truth: GroundTruth | None,
    *,
    of_backend: Backend | None,
    of_format: ModelFormat | None,
) -> list[CellAnswers]:
    """Return the answers of a backend or a format that an agreement check wrote down.

    The check has the cell's own answers and, beside them, those of the ground truth, which has no
    check of its own. Answers of a backend are told apart by format and quantization, those of a
    format by backend.

    Args:
        cell: the cell of the check.
        figures: what the check wrote down.
        truth: what its ground truth was.
        of_backend: the backend that is meant, or
        of_format: the format that is meant.
    """
    found = []
    ours, theirs = _texts(figures.get("answers")), _texts(figures.get("ground_truth"))
    if ours and (cell.backend is of_backend or cell.format is of_format):
        key = str(cell.backend) if of_format else variant_name(cell.format, cell.quantization)
        found.append((key, cell.quantization, ours))
    if theirs and truth is not None:
        # The ground truth is computed on the cpu; as a format it stands beside any backend.
        if of_backend is Backend.CPU:
            key = variant_name(truth.format, truth.quantization)
            found.append((key, truth.quantization, theirs))
        elif of_format is not None and truth.format is of_format is not cell.format:
            found.append((str(cell.backend), truth.quantization, theirs))
    return found


def alike(left: Answers, right: Answers) -> Value:
    """Say whether all pairs of cells that belong together gave answers that agree.

    Nothing to pair, or pairs of one and the same answers, show nothing.
    """
    pairs = [
        (ours, theirs)
        for ours in left.cells
        for theirs in right.cells
        if ours[0] == theirs[0] and ours is not theirs
    ]
    if not pairs:
        return Missing(what="two cells that answered the same prompts")
    return all(
        mean_similarity(ours[2], theirs[2]) >= required_agreement(ours[1], theirs[1])
        for ours, theirs in pairs
    )


def required_agreement(*quantizations: str | None) -> float:
    """Return the least mean similarity that the coarsest of the quantizations allows, 0 to 1."""
    catalogue = quantization_catalogue()
    classes = load_limits().classes
    return min(
        classes[catalogue[name].agreement if name in catalogue else "exact"].agreement
        for name in (each or "" for each in quantizations)
    )


def mean_similarity(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """Return the mean similarity; answers to different numbers of prompts do not agree."""
    if len(ours) != len(theirs) or not ours:
        return 0.0
    return fmean(similarity(*pair) for pair in zip(ours, theirs, strict=True))


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    return ()
