"""The matrix of a plan's jobs, as GitHub's ``strategy.matrix`` takes it.

A matrix has at most 256 jobs. Beyond that there are two levels: each job of the outer matrix calls
a reusable workflow with an inner matrix, which is JSON within JSON. How many jobs of a matrix run
at a time is one number to GitHub, so a group is of one runner class, whose limit is the group's.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.planning.plan import Plan, PlannedShard

__all__ = ["MAX_JOBS", "MAX_MATRIX_BYTES", "Matrix", "groups_of", "matrix_of"]

MAX_JOBS: Final = 256
"""The most jobs of one matrix."""

MAX_MATRIX_BYTES: Final = (1 << 20) - 1
"""What an output of a job holds."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A matrix, and what a workflow must know before it uses it."""

    levels: int
    """1: each entry is a shard. 2: each entry is a group with a matrix of shards of its own."""
    shards: int
    """0 when nothing is to be run: GitHub refuses an empty matrix, so the job must be left out."""
    max_parallel: int
    """How many of its jobs run at a time: what the runner classes allow together, at least 1. Of a
    matrix of groups, all."""
    include: tuple[Mapping[str, Any], ...]

    @property
    def text(self) -> str:
        """The matrix as one line of JSON, ASCII alone."""
        return _json({"include": self.include})


def matrix_of(plan: Plan) -> Matrix:
    """Return the matrix of a plan that was made for runner classes. Pure.

    An entry of a shard has the keys ``shard``, ``runs-on``, ``timeout-minutes``, ``name`` and
    ``runner``; for an entry of a group see ``groups_of``.

    Raises:
        InputError: the plan is for no runner classes, or its matrix is beyond what GitHub takes.
    """
    if len(plan.shards) > MAX_JOBS:
        return groups_of(plan)
    return _checked(
        Matrix(
            levels=1,
            shards=len(plan.shards),
            max_parallel=max(1, sum(_most_at_a_time(each) for each in _by_class(plan).values())),
            include=tuple(_entry(shard) for shard in plan.shards),
        )
    )


def groups_of(plan: Plan) -> Matrix:
    """Return the matrix of a plan as one of groups, whatever its size. Pure.

    A group is of one runner class. Its entry has the keys ``group``, ``matrix``, the text of the
    inner matrix, and ``max-parallel``: its part of what the class allows. Groups run side by side,
    so a class of more than 256 shards has at least one job of each of its groups at a time.

    Raises:
        InputError: the plan is for no runner classes, or its matrix is beyond what GitHub takes.
    """
    parts = [part for shards in _by_class(plan).values() for part in _parts(shards)]
    width = max(2, len(str(len(parts))))
    include = [
        {
            "group": f"g{number:0{width}d} {shards[0].runner}",
            "matrix": _json({"include": [_entry(shard) for shard in shards]}),
            "max-parallel": most,
        }
        for number, (shards, most) in enumerate(parts, start=1)
    ]
    # GitHub refuses a matrix without entries, even of a job that is left out.
    empty = {"group": "g01", "matrix": _json({"include": []}), "max-parallel": 1}
    return _checked(
        Matrix(
            levels=2,
            shards=len(plan.shards),
            max_parallel=max(1, len(include)),
            include=tuple(include or [empty]),
        )
    )


def _checked(matrix: Matrix) -> Matrix:
    size = len(matrix.text)
    if len(matrix.include) > MAX_JOBS or size > MAX_MATRIX_BYTES:
        what = (
            f"the matrix of {matrix.shards} shards has {size} bytes in {len(matrix.include)} "
            f"entries; GitHub takes {MAX_MATRIX_BYTES} bytes and {MAX_JOBS} entries"
        )
        hint = "raise --target-minutes, lower --max-shards, or plan fewer playbooks at a time"
        raise InputError(Problem(what=what, hint=hint))
    return matrix


def _entry(shard: PlannedShard) -> dict[str, Any]:
    if shard.runs_on is None or shard.timeout_minutes is None:
        what = f"shard {shard.id} has no runner class, so there is no matrix for GitHub"
        raise InputError(Problem(what=what, hint="make the plan with --runners"))
    return {
        "shard": shard.id,
        "runs-on": msgspec.to_builtins(shard.runs_on),
        "timeout-minutes": shard.timeout_minutes,
        "name": f"{shard.id} {shard.runner}",
        "runner": shard.runner,
    }


def _by_class(plan: Plan) -> dict[str | None, list[PlannedShard]]:
    classes: defaultdict[str | None, list[PlannedShard]] = defaultdict(list)
    for shard in plan.shards:
        classes[shard.runner].append(shard)
    return classes


def _most_at_a_time(shards: Sequence[PlannedShard]) -> int:
    """Return how many of a class's jobs run at a time; a plan of before said nothing of it."""
    return min(shards[0].max_parallel or MAX_JOBS, len(shards))


def _parts(shards: Sequence[PlannedShard]) -> list[tuple[Sequence[PlannedShard], int]]:
    """Deal the shards of a class to as few groups as there can be, and its limit among them."""
    count = ceil(len(shards) / MAX_JOBS)
    share, rest = divmod(_most_at_a_time(shards), count)
    return [(shards[number::count], max(1, share + (number < rest))) for number in range(count)]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
