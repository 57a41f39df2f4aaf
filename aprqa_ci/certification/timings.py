"""What cells took, kept beside the certificate so that the next plan is packed by it.

Nothing is judged by timings. They are computed from the evidence alone, and only for cells that
were run from end to end: a cell that was skipped after a second says nothing of what it takes.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.durations import Timings
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.plan_file import AnyPlan
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import WireModel, pretty_json, read_wire

__all__ = [
    "TIMINGS_NAME",
    "TIMINGS_SCHEMA",
    "CellTimings",
    "joined_timings",
    "read_timings",
    "timings_of",
    "write_timings",
]

TIMINGS_NAME: Final = "timings.json"
TIMINGS_SCHEMA: Final = "aprqa-timings/1"

Seconds = Annotated[float, Meta(gt=0.0, le=432_000.0)]
"""At most the five days that a job may take."""

_LONGEST = 432_000.0


class CellTimings(WireModel, frozen=True, kw_only=True):
    """What the cells of one playbook took."""

    schema: Literal["aprqa-timings/1"] = TIMINGS_SCHEMA
    seconds: dict[str, dict[str, Seconds]]
    """By runner class, then by cell id."""


def timings_of(plan: AnyPlan, playbook: str, records: Sequence[EvidenceRecord]) -> CellTimings:
    """Return what the cells of a playbook took, by the class that their shard ran on. Pure.

    A cell's time is from its first record to its last, and what the first one took.

    Args:
        plan: the whole plan, shards included; a cell whose shard has no class is left out.
        playbook: the playbook's name.
        records: the evidence of the run.
    """
    runners = {cell: shard.runner for shard in plan.shards for cell in shard.cells}
    by_cell: defaultdict[str, list[EvidenceRecord]] = defaultdict(list)
    for record in records:
        by_cell[record.metadata.get(MetadataKey.CELL, "")].append(record)
    seconds: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for cell in plan.cells_of(playbook):
        runner, own = runners.get(cell.id), by_cell[cell.id]
        if runner is None or len(own) < len(cell.scenarios):
            continue
        taken = _seconds(own)
        if taken is not None:
            seconds[runner][cell.id] = taken
    return CellTimings(seconds=dict(seconds))


def joined_timings(earlier: CellTimings, now: CellTimings, plan: Plan) -> CellTimings:
    """Return the newer timings, and the earlier ones of what was not timed again. Pure.

    A run in which the GPU was out of order leaves what its cells took before as it is.

    Args:
        earlier: what stands.
        now: what is new.
        plan: the newest; what it has no cell of is left out.
    """
    cells = {cell.id for cell in plan.cells}
    seconds: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for timings in (earlier, now):
        for runner, taken in timings.seconds.items():
            seconds[runner] |= {cell: time for cell, time in taken.items() if cell in cells}
    return CellTimings(
        seconds={
            runner: dict(sorted(taken.items()))
            for runner, taken in sorted(seconds.items())
            if taken
        }
    )


def write_timings(directory: Path, timings: CellTimings) -> None:
    """Write the timings beside a certificate; when there are none, an earlier file stays.

    Raises:
        OSError: the directory cannot be written.
    """
    if timings.seconds:
        write_atomic(directory / TIMINGS_NAME, pretty_json(timings))


def read_timings(directory: Path) -> Timings:
    """Return the timings that lie beside a certificate, if there are any.

    Raises:
        InputError: the file is there and unreadable.
    """
    path = directory / TIMINGS_NAME
    if not path.exists():
        return {}
    found = read_wire(path, CellTimings)
    return {
        (cell, runner): taken
        for runner, cells in found.seconds.items()
        for cell, taken in cells.items()
    }


def _seconds(records: Sequence[EvidenceRecord]) -> float | None:
    """Return what a cell took, or nothing if it was not run to its end."""
    if any(record.outcome is Outcome.SKIPPED for record in records):
        return None
    try:
        times = [(datetime.fromisoformat(record.timestamp), record) for record in records]
        first, last = min(times, key=lambda each: each[0]), max(times, key=lambda each: each[0])
        taken = (last[0] - first[0]).total_seconds() + first[1].metrics.duration_ms / 1000
    except (TypeError, ValueError):
        return None  # a record of another tool may have any text for a time, or none of the zone
    return round(taken, 1) if 0.05 < taken <= _LONGEST else None
