"""Packing cells into shards: longest first, to the shard that is least loaded.

The greedy rule of longest processing time first is at most 4/3 - 1/(3m) of the best possible for m
shards (R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969).
"""

from collections.abc import Sequence
from heapq import heapify, heapreplace
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook, PlannedShard
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = ["expected_seconds", "pack"]

_CHECK_ANSWERS = 4
"""A check asks a few times; counted as so many answers."""


class _DurationFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-durations/1"]
    load: dict[SizeCategory, float]
    answer: dict[Backend, dict[SizeCategory, float]]
    format: dict[ModelFormat, float]


def expected_seconds(cell: PlannedCell, size: SizeCategory) -> float:
    """Return what the cell is expected to take, in seconds; never nothing."""
    facts = load_data("durations.yaml", _DurationFile)
    prompts = sum(scenario.prompt is not None for scenario in cell.scenarios)
    checks = sum(scenario.gate_id.startswith("F-") for scenario in cell.scenarios) - prompts
    answers = prompts + _CHECK_ANSWERS * checks
    answer = facts.answer[cell.backend][size] * facts.format[cell.format]
    return facts.load[size] + answers * answer


def pack(
    cells: Sequence[PlannedCell], playbooks: Sequence[PlannedPlaybook], *, shards: int
) -> tuple[PlannedShard, ...]:
    """Pack every cell into one of at most ``shards`` shards, evenly by expected duration.

    Raises:
        InputError: ``shards`` is less than one.
    """
    if shards < 1:
        what = f"a plan needs at least one shard, not {shards}"
        raise InputError(what)
    sizes = {playbook.name: playbook.model.size_category for playbook in playbooks}
    durations = {cell.id: expected_seconds(cell, sizes[cell.playbook]) for cell in cells}
    loads = [(0.0, index) for index in range(min(shards, len(cells)))]
    heapify(loads)
    members: list[list[str]] = [[] for _ in loads]
    totals = [0.0] * len(members)
    for cell in sorted(cells, key=lambda each: (-durations[each.id], each.id)):
        load, index = loads[0]
        members[index].append(cell.id)
        totals[index] = load + durations[cell.id]
        heapreplace(loads, (totals[index], index))
    order = {cell.id: position for position, cell in enumerate(cells)}
    return tuple(
        PlannedShard(
            id=f"s{index + 1:03d}",
            cells=tuple(sorted(group, key=order.__getitem__)),
            expected_seconds=round(totals[index], 1),
        )
        for index, group in enumerate(members)
    )
