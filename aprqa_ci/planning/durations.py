"""What cells are expected to take: what they took before, else estimates by size and format."""

from collections.abc import Mapping
from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.planning.model_size import weights_gb
from aprqa_ci.planning.plan import PlannedCell, PlannedModel
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = ["Timings", "cell_seconds", "expected_seconds", "setup_seconds"]

Timings = Mapping[tuple[str, str], float]
"""Seconds that cells took, by cell id and runner class. What was measured on one class says nothing
of another."""

_CHECK_ANSWERS = 4
"""A check asks a few times; counted as so many answers."""


class _DurationFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-durations/1"]
    load: dict[SizeCategory, float]
    answer: dict[Backend, dict[SizeCategory, float]]
    format: dict[ModelFormat, float]
    fetch_per_gb: float
    least: float


@cache
def _facts() -> _DurationFile:
    return load_data("durations.yaml", _DurationFile)


def expected_seconds(cell: PlannedCell, size: SizeCategory) -> float:
    """Return the estimate for the cell, in seconds; never nothing."""
    facts = _facts()
    prompts = sum(scenario.prompt is not None for scenario in cell.scenarios)
    checks = sum(scenario.gate_id.startswith("F-") for scenario in cell.scenarios) - prompts
    answers = prompts + _CHECK_ANSWERS * checks
    answer = facts.answer[cell.backend][size] * facts.format[cell.format]
    return facts.load[size] + answers * answer


def cell_seconds(
    cell: PlannedCell, size: SizeCategory, *, runner: str, speed: float, timings: Timings
) -> float:
    """Return what the cell is expected to take on a class of machines, in seconds; never nothing.

    Args:
        cell: the cell.
        size: the size of its model.
        runner: the runner class.
        speed: how fast the class is, as a factor; what was measured has it in itself.
        timings: what cells took before.
    """
    known = timings.get((cell.id, runner))
    seconds = expected_seconds(cell, size) / speed if known is None else known
    return max(seconds, _facts().least)


def setup_seconds(model: PlannedModel, format_: ModelFormat, quantization: str | None) -> float:
    """Return what a shard takes to fetch and inspect one variant, in seconds."""
    return _facts().fetch_per_gb * weights_gb(model, format_, quantization)
