"""Which class of machines takes which cell: the cheapest that has room for it, or none."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aprqa_ci.planning.durations import Timings, cell_seconds
from aprqa_ci.planning.model_size import RoomNeeded, room_needed, size_of
from aprqa_ci.planning.plan import PlacedOut, PlannedCell, PlannedPlaybook
from aprqa_ci.planning.runner_classes import RunnerClass
from aprqa_ci.vocabulary import SizeCategory

__all__ = ["Placement", "place"]


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where cells go, in the order of the cells and of the classes."""

    cells: Mapping[RunnerClass | None, tuple[PlannedCell, ...]]
    """By class, only those that have any; ``None`` is the one machine of a plan without classes."""
    unplaced: tuple[PlacedOut, ...] = ()
    deferred: tuple[PlacedOut, ...] = ()


def place(
    cells: Sequence[PlannedCell],
    playbooks: Mapping[str, PlannedPlaybook],
    runners: Sequence[RunnerClass],
    *,
    fork: bool,
    timings: Timings,
) -> Placement:
    """Send each cell to the cheapest class that has room for it. Pure.

    Cost is the class's price times what the cell is expected to take there; of equally cheap
    classes, the first by name. What no class has room for is unplaced. For a fork's pull request,
    what only classes closed to forks could take is deferred to a run of the repository's own.

    Args:
        cells: the cells.
        playbooks: the playbooks by name.
        runners: the classes, at least one.
        fork: whether the plan is for a fork's pull request.
        timings: what cells took before.
    """
    chosen: defaultdict[RunnerClass, list[PlannedCell]] = defaultdict(list)
    unplaced, deferred = [], []
    for cell in cells:
        playbook = playbooks[cell.playbook]
        room = room_needed(cell, playbook)
        fitting = [
            runner
            for runner in runners
            if runner.backend is cell.backend and not _lacking(room, runner)
        ]
        allowed = [runner for runner in fitting if runner.takes_forks or not fork]
        if not fitting:
            reason = _why_unplaced(cell, room, runners)
            unplaced.append(PlacedOut(cell=cell.id, reason=reason))
        elif not allowed:
            names = ", ".join(sorted(runner.name for runner in fitting))
            reason = f"only {names} could take it, and no fork's pull request may reach it"
            deferred.append(PlacedOut(cell=cell.id, reason=reason))
        else:
            size = size_of(playbook.model)
            cheapest = min(
                (_cost(cell, size, runner, timings), runner.name, position)
                for position, runner in enumerate(allowed)
            )
            chosen[allowed[cheapest[-1]]].append(cell)
    return Placement(
        cells={runner: tuple(chosen[runner]) for runner in runners if runner in chosen},
        unplaced=tuple(unplaced),
        deferred=tuple(deferred),
    )


def _cost(cell: PlannedCell, size: SizeCategory, runner: RunnerClass, timings: Timings) -> float:
    seconds = cell_seconds(cell, size, runner=runner.name, speed=runner.speed, timings=timings)
    return runner.cost_per_minute * seconds / 60


def _lacking(room: RoomNeeded, runner: RunnerClass) -> list[str]:
    """Say what the class has too little of."""
    compared = f", {room.weights_gb:.1f} GB of weights"
    if room.truth_gb:
        compared += f" and {room.truth_gb:.1f} GB of what they are compared with"
    needs = (
        ("memory", room.memory_gb, runner.memory_gb),
        ("disk", room.disk_gb, runner.disk_gb),
        ("GPU memory", room.vram_gb, runner.vram_gb),
    )
    return [
        f"{needed:.1f} GB of {kind} are needed{compared if kind == 'disk' else ''}, "
        f"{runner.name} has {there:g}"
        for kind, needed, there in needs
        if needed > there
    ]


def _why_unplaced(cell: PlannedCell, room: RoomNeeded, runners: Sequence[RunnerClass]) -> str:
    same = sorted(
        (runner for runner in runners if runner.backend is cell.backend),
        key=lambda runner: (-runner.memory_gb, -runner.disk_gb, runner.name),
    )
    if not same:
        return f"no runner class has backend {cell.backend}"
    return "; ".join(_lacking(room, same[0]))
