"""The matrix of a plan's jobs, as GitHub's ``strategy.matrix`` takes it.

A matrix has at most 256 jobs. Beyond that there are two levels: each job of the outer matrix calls
a reusable workflow with an inner matrix, which is JSON within JSON.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.planning.plan import Plan, PlannedShard

__all__ = ["MAX_JOBS", "MAX_MATRIX_BYTES", "Matrix", "matrix_of"]

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
    include: tuple[Mapping[str, Any], ...]

    @property
    def text(self) -> str:
        """The matrix as one line of JSON, ASCII alone."""
        return _json({"include": self.include})


def matrix_of(plan: Plan) -> Matrix:
    """Return the matrix of a plan that was made for runner classes. Pure.

    An entry of a shard has the keys ``shard``, ``runs-on``, ``timeout-minutes``, ``name`` and
    ``runner``; an entry of a group ``group`` and ``matrix``, the text of the inner one.

    Raises:
        InputError: the plan is for no runner classes, or its matrix is beyond what GitHub takes.
    """
    entries = [_entry(shard) for shard in plan.shards]
    if len(entries) <= MAX_JOBS:
        matrix = Matrix(levels=1, shards=len(entries), include=tuple(entries))
    else:
        matrix = Matrix(levels=2, shards=len(entries), include=_groups(entries))
    size = len(matrix.text)
    if len(matrix.include) > MAX_JOBS or size > MAX_MATRIX_BYTES:
        what = (
            f"the matrix of {len(entries)} shards has {size} bytes in {len(matrix.include)} "
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


def _groups(entries: list[dict[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Deal the entries to as few groups as there can be, of about the same size."""
    count = ceil(len(entries) / MAX_JOBS)
    width = len(str(count))
    return tuple(
        {
            "group": f"g{number + 1:0{max(2, width)}d}",
            "matrix": _json({"include": entries[number::count]}),
        }
        for number in range(count)
    )


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
