"""Cells into shards: how many of them, and on which class of machines each is to run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from heapq import heapify, heapreplace
from math import ceil
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.planning.balancing import Item, seconds_of
from aprqa_ci.planning.durations import Timings, cell_seconds, setup_seconds
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.model_size import size_of
from aprqa_ci.planning.packing import pack_items
from aprqa_ci.planning.placement import Placement, place
from aprqa_ci.planning.plan import PlacedOut, PlannedCell, PlannedPlaybook, PlannedShard
from aprqa_ci.planning.runner_classes import RunnerClass
from aprqa_ci.wire import WireModel

__all__ = ["Packed", "PackingFacts", "ShardOptions", "pack", "packing_facts", "timeout_minutes"]

_HERE = ""
"""The class of the machine that a plan without runner classes is made for."""


class TimeoutFacts(WireModel, frozen=True, kw_only=True):
    """When the job of a shard is ended."""

    factor: float
    extra_minutes: float
    least_minutes: int
    most_minutes_hosted: int
    most_minutes_self_hosted: int


class PackingFacts(WireModel, frozen=True, kw_only=True):
    """See the comments of the data file."""

    schema: Literal["aprqa-packing/1"]
    target_minutes: float
    max_shards: int
    slack: float
    timeout: TimeoutFacts


@cache
def packing_facts() -> PackingFacts:
    """Return the facts of this installation.

    Raises:
        AprqaError: the installation is damaged.
    """
    return load_data("packing.yaml", PackingFacts)


@dataclass(frozen=True, kw_only=True)
class ShardOptions:
    """Into how many shards cells are packed, and for which machines."""

    shards: int | None = None
    """The exact number, or fewer where more would not shorten the longest."""
    target_minutes: float | None = None
    """How long a shard is to take, where no number is given."""
    max_shards: int | None = None
    """At most so many, where no number is given."""
    runners: tuple[RunnerClass, ...] = ()
    """The classes; without any, the plan is for one machine that takes everything."""
    fork: bool = False
    """Whether the plan is for a fork's pull request."""
    timings: Timings = field(default_factory=dict)
    """What cells took before."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The shards, and what is in none of them."""

    shards: tuple[PlannedShard, ...]
    unplaced: tuple[PlacedOut, ...] = ()
    deferred: tuple[PlacedOut, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Pool:
    runner: RunnerClass | None
    items: tuple[Item, ...]
    setup: Mapping[str, float]
    total: float

    def wanted(self, target: float) -> int:
        """Return into how many shards of the target's length the pool's cells go.

        More than can run at a time are made a multiple of that, so that the last round is full.
        """
        count = ceil(self.total / target)
        rounds = self.runner.max_parallel if self.runner else 1
        if count > rounds:
            count = ceil(count / rounds) * rounds
        return max(1, min(count, len(self.items)))


def pack(
    cells: Sequence[PlannedCell],
    playbooks: Sequence[PlannedPlaybook],
    options: ShardOptions,
) -> Packed:
    """Place cells on runner classes and pack those of each class into shards. Pure.

    Args:
        cells: the cells, with distinct ids.
        playbooks: the playbooks that they are of.
        options: how many shards, and for which machines.

    Raises:
        InputError: there is to be no shard at all, or fewer than classes that have cells.
    """
    _require_counts(options)
    by_name = {playbook.name: playbook for playbook in playbooks}
    placement = (
        place(cells, by_name, options.runners, fork=options.fork, timings=options.timings)
        if options.runners
        else Placement(cells={None: tuple(cells)})
    )
    pools = [
        _pool(runner, placed, by_name, options.timings)
        for runner, placed in placement.cells.items()
    ]
    order = {cell.id: position for position, cell in enumerate(cells)}
    shards: list[PlannedShard] = []
    for pool, count in zip(pools, _counts(pools, options), strict=True):
        packed = pack_items(pool.items, pool.setup, bins=count, slack=packing_facts().slack)
        shards += [
            _shard(f"s{number:03d}", pool, members, order)
            for number, members in enumerate(packed, start=len(shards) + 1)
        ]
    return Packed(shards=tuple(shards), unplaced=placement.unplaced, deferred=placement.deferred)


def timeout_minutes(expected_seconds: float, runner: RunnerClass) -> int:
    """Return after how many minutes the job of a shard is ended."""
    facts = packing_facts().timeout
    minutes = ceil(expected_seconds / 60 * facts.factor + facts.extra_minutes)
    most = facts.most_minutes_self_hosted if runner.self_hosted else facts.most_minutes_hosted
    return min(max(minutes, facts.least_minutes), most)


def _require_counts(options: ShardOptions) -> None:
    problems = [
        Problem(what=f"a plan needs at least one shard, not {count}")
        for count in (options.shards, options.max_shards)
        if count is not None and count < 1
    ]
    if options.target_minutes is not None and options.target_minutes <= 0:
        what = f"a shard takes some time; {options.target_minutes:g} minutes is no target"
        problems.append(Problem(what=what))
    if problems:
        raise InputError(problems)


def _pool(
    runner: RunnerClass | None,
    cells: Sequence[PlannedCell],
    playbooks: Mapping[str, PlannedPlaybook],
    timings: Timings,
) -> _Pool:
    name, speed = (runner.name, runner.speed) if runner else (_HERE, 1.0)
    setup: dict[str, float] = {}
    items = []
    for cell in cells:
        model = playbooks[cell.playbook].model
        # Playbooks of one model share its files, whatever they ask of it.
        variant = variant_name(cell.format, cell.quantization)
        group = "\n".join((model.hf_repo, model.revision or "", model.local_path or "", variant))
        setup[group] = setup_seconds(model, cell.format, cell.quantization)
        seconds = cell_seconds(cell, size_of(model), runner=name, speed=speed, timings=timings)
        items.append(Item(name=cell.id, seconds=seconds, group=group))
    return _Pool(runner=runner, items=tuple(items), setup=setup, total=seconds_of(items, setup))


def _counts(pools: Sequence[_Pool], options: ShardOptions) -> list[int]:
    """Return into how many shards each pool goes."""
    facts = packing_facts()
    if options.shards is not None:
        return _shared_out(pools, options.shards)
    target = options.target_minutes or facts.target_minutes
    most = options.max_shards or facts.max_shards
    counts = [pool.wanted(target * 60) for pool in pools]
    return counts if sum(counts) <= most else _shared_out(pools, most)


def _shared_out(pools: Sequence[_Pool], shards: int) -> list[int]:
    """Give each shard in turn to the pool whose shards are the longest."""
    if shards < len(pools):
        names = ", ".join(pool.runner.name for pool in pools if pool.runner)
        what = f"{shards} shards are too few: each runner class that has cells needs one ({names})"
        raise InputError(what)
    if not pools:
        return []
    counts = [1] * len(pools)
    heap = [(-pool.total, index) for index, pool in enumerate(pools)]
    heapify(heap)
    for _ in range(shards - len(pools)):
        _, index = heap[0]
        counts[index] += 1
        # A pool that has a shard for every cell needs no more.
        full = counts[index] >= len(pools[index].items)
        heapreplace(heap, (0.0 if full else -pools[index].total / counts[index], index))
        if heap[0][0] == 0.0:
            break
    return [min(count, len(pool.items)) for count, pool in zip(counts, pools, strict=True)]


def _shard(
    name: str, pool: _Pool, members: Sequence[Item], order: Mapping[str, int]
) -> PlannedShard:
    seconds = seconds_of(members, pool.setup)
    runner = pool.runner
    return PlannedShard(
        id=name,
        cells=tuple(sorted((item.name for item in members), key=order.__getitem__)),
        expected_seconds=round(seconds, 1),
        runner=runner.name if runner else None,
        runs_on=runner.runs_on if runner else None,
        timeout_minutes=timeout_minutes(seconds, runner) if runner else None,
        max_parallel=runner.max_parallel if runner else None,
    )
