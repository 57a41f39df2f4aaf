"""Before a shard's cells are run: is this machine fit for them?

What is found here is the machine's, never the model's: the cells that it concerns are skipped with
the cause ``infrastructure:preflight-…``, and the others are run.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from aprqa_ci.execution.converters import APR_ENGINE, apr_converter
from aprqa_ci.execution.derivable import Derivable, find_model
from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.execution.engines.interface import EngineAbsentError
from aprqa_ci.execution.engines.registry import describe, engine_for
from aprqa_ci.execution.fetching.manifest import Models
from aprqa_ci.execution.gpu_devices import GpuDevice, RunCommand, visible_devices
from aprqa_ci.execution.host import available_memory_mb
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.resolve import ModelNotFoundError, located_model, own_cache
from aprqa_ci.execution.result import Cause, ScenarioResult
from aprqa_ci.planning.identifiers import variant_name
from aprqa_ci.planning.model_size import placement_facts, scratch_gb
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook
from aprqa_ci.vocabulary import Backend, Outcome

__all__ = ["PreflightProblem", "PreflightWorld", "preflight", "refused_results"]

_GB = 10**9
_MIB = 1 << 20
_MOST_NAMED = 3


def _free_disk(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


@dataclass(frozen=True, kw_only=True)
class PreflightWorld:
    """What the checks take from the outside world."""

    environment: Mapping[str, str]
    home: Path
    root: Path
    """What relative paths of the plan start from."""
    run_command: RunCommand
    output: Path
    """Where evidence will be written."""
    models: Models | None = None
    """What was fetched for the cells, if something was."""
    scratch: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    engine_options: EngineOptions = field(default_factory=dict)
    """What each engine is told on this machine, by its name."""
    free_disk: Callable[[Path], int] = _free_disk
    """The bytes that are free where a path is, or will be."""
    available_memory_mb: Callable[[], int] = available_memory_mb
    """0 when the system does not say."""


@dataclass(frozen=True, kw_only=True)
class PreflightProblem:
    """One thing that keeps cells from being run here."""

    word: str
    """The word of the cause: ``preflight-disk``, ``-memory``, ``-model``, ``-driver``, ``-vram`` or
    ``-foreign-process``."""
    what: str
    cells: tuple[str, ...]
    """The ids of the cells that are not to be run."""


def preflight(
    cells: Sequence[PlannedCell], playbooks: Mapping[str, PlannedPlaybook], world: PreflightWorld
) -> tuple[PreflightProblem, ...]:
    """Check this machine against what the cells need, before any of them is started.

    An engine that is missing is not looked at here: the cell itself says so when it is run.

    Args:
        cells: the cells of the shard.
        playbooks: the playbooks by name.
        world: the outside world.

    Returns:
        What is wrong, each thing once, with all the cells that it concerns.
    """
    found: dict[tuple[str, str], list[str]] = {}
    devices = (
        visible_devices(world.run_command, world.environment)
        if any(cell.backend is Backend.GPU for cell in cells)
        else ()
    )
    for cell in cells:
        playbook = playbooks[cell.playbook]
        # What a server holds needs neither files nor devices here.
        here = () if _held_elsewhere(cell, world) else _of_model(cell, playbook, world, devices)
        for problem in (*_of_disk(cell, playbook, world), *here):
            found.setdefault(problem, []).append(cell.id)
    return tuple(
        PreflightProblem(word=word, what=what, cells=tuple(names))
        for (word, what), names in found.items()
    )


def refused_results(
    cell: PlannedCell, problems: Sequence[PreflightProblem], now: datetime
) -> tuple[ScenarioResult, ...]:
    """Return a skip for every scenario of a cell that is not run. Pure.

    Args:
        cell: the cell.
        problems: those that concern it; at least one, the first of which is the cause.
        now: the time of the results.
    """
    reason = "; ".join(problem.what for problem in problems)
    cause = Cause(kind="infrastructure", word=problems[0].word)
    return tuple(
        ScenarioResult(
            cell=cell,
            scenario=scenario,
            outcome=Outcome.SKIPPED,
            reason=reason,
            cause=cause,
            finished_at=now,
        )
        for scenario in cell.scenarios
    )


_Found = tuple[str, str]
"""The word and the sentence."""


def _held_elsewhere(cell: PlannedCell, world: PreflightWorld) -> bool:
    try:
        engine = engine_for(
            cell.format, cell.backend, asked=cell.engine, options=world.engine_options
        )
    except EngineAbsentError:
        return False
    return not describe(engine).needs_files


def _of_disk(
    cell: PlannedCell, playbook: PlannedPlaybook, world: PreflightWorld
) -> Iterator[_Found]:
    least = placement_facts().least_free_gb
    places = ((world.scratch, least + scratch_gb(cell, playbook)), (world.output, least))
    for path, needed in places:
        free = world.free_disk(path) / _GB
        if free < needed:
            yield "preflight-disk", f"{free:.1f} GB are free at {path}; {needed:.1f} GB are needed"


def _of_model(
    cell: PlannedCell,
    playbook: PlannedPlaybook,
    world: PreflightWorld,
    devices: Sequence[GpuDevice] | None,
) -> Iterator[_Found]:
    size = 0
    try:
        found = find_model(
            located_model(playbook.model, world.root),
            format=cell.format,
            quantization=cell.quantization,
            environment=world.environment,
            home=world.home,
            converter=apr_converter(world.engine_options.get(APR_ENGINE, {})),
        )
        size = found.size_bytes
    except (ModelNotFoundError, OSError) as error:
        variant = variant_name(cell.format, cell.quantization)
        reason = world.models and world.models.reason_for(playbook.model.hf_repo, variant)
        yield "preflight-model", f"{reason}\n{error}" if reason else str(error)
    else:
        if isinstance(found, Derivable):
            yield from _of_making(found, world)
        files = found.source if isinstance(found, Derivable) else found
        yield from _of_fetched(files, world.models)
        yield from _of_memory(cell, size, world.available_memory_mb(), world.engine_options)
    if cell.backend is Backend.GPU:
        yield from _of_gpu(cell, size, devices)


def _of_making(made: Derivable, world: PreflightWorld) -> Iterator[_Found]:
    cache = own_cache(world.environment, world.home)
    if problem := made.lack_of_disk(cache, world.free_disk(cache)):
        yield "preflight-disk", problem
    if problem := made.lack_of_memory(load_limits(), world.available_memory_mb()):
        yield "preflight-memory", problem


def _of_fetched(files: ModelFiles, models: Models | None) -> Iterator[_Found]:
    """Hold what the cache has now against what was fetched; the inspection reads every byte."""
    known = models.fetched(files.repo) if models is not None and files.repo is not None else ()
    if not known:
        return
    if all(each.commit != files.revision for each in known):
        what = f"{files.repo}: the cache has commit {files.revision}, and another was fetched"
        yield "preflight-model", f"{what}; fetch again"
        return
    sizes = {file.path: file.size for each in known for file in each.files}
    for path in files.weights:
        name = next((each for each in sizes if path.as_posix().endswith(f"/{each}")), None)
        if name is None or sizes[name] != path.stat().st_size:
            yield "preflight-model", f"{path} is not the file that was fetched; fetch again"


def _of_memory(cell: PlannedCell, size: int, free: int, options: EngineOptions) -> Iterator[_Found]:
    try:
        engine = engine_for(cell.format, cell.backend, asked=cell.engine, options=options).name
    except EngineAbsentError:
        return
    needed = load_limits().memory_needed_mb(engine, size)
    if needed > free > 0:
        what = f"engine {engine} needs about {needed} MiB of memory; {free} MiB are free"
        yield "preflight-memory", what


def _of_gpu(cell: PlannedCell, size: int, devices: Sequence[GpuDevice] | None) -> Iterator[_Found]:
    if devices is None:
        yield "preflight-driver", "the GPU driver does not answer: nvidia-smi is missing or fails"
        return
    if not devices:
        yield "preflight-driver", "the GPU driver answers and shows no device"
        return
    for device in devices:
        if device.processes:
            named = ", ".join(device.processes[:_MOST_NAMED])
            more = "" if len(device.processes) <= _MOST_NAMED else " and more"
            what = f"GPU {device.index} is in use by others: {named}{more}"
            yield "preflight-foreign-process", what
    facts = placement_facts()
    needed = int((size * facts.vram[cell.format] + facts.vram_base_gb * _GB) / _MIB) if size else 0
    free = max(device.free_mb for device in devices)
    if free < needed:
        what = f"about {needed} MiB of GPU memory are needed; {free} MiB are free"
        yield "preflight-vram", what
