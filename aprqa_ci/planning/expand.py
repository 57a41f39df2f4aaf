"""From playbooks to a plan: cells, their scenarios, and what is compared with what."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.gates import gate_catalogue, inspect_gate_ids
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.differential import ComparedPlace, comparison_gates, left_out
from aprqa_ci.planning.durations import Timings
from aprqa_ci.planning.identifiers import cell_id, prompt_id, select
from aprqa_ci.planning.parity import parity_checks
from aprqa_ci.planning.plan import GroundTruth, Plan, PlannedCell, PlannedScenario, PromptCase
from aprqa_ci.planning.planned_playbook import planned_playbook
from aprqa_ci.planning.prompt_source import PromptSource
from aprqa_ci.planning.questions import questions_digest
from aprqa_ci.planning.runner_classes import RunnerClass
from aprqa_ci.planning.section_prompts import Frame, SectionPrompts
from aprqa_ci.planning.shards import ShardOptions, pack
from aprqa_ci.planning.tiers import Tier, default_tier, tier_named
from aprqa_ci.playbook.load import LoadedPlaybook, declared_tier
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

__all__ = ["PlanOptions", "expand"]

METADATA_GATE = "G0-METADATA-001"
LOSS_GATE = "F-REGR-LOSS-001"
BASELINE_GATES = ("F-REGR-BASELINE-001", LOSS_GATE)
_SERVE_CHECKS = {"F-STAB-HEALTH-001", "F-STAB-CLIENTS-001", "F-STAB-MALFORMED-001"}
_FILE_CHECKS = {"F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"}


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What the user asks of a plan, beyond the playbooks."""

    tier: str | None = None
    """The tier; absent: what the playbook declares, else the default tier."""
    only: tuple[str, ...] = ()
    """Globs over cell ids."""
    backends: tuple[Backend, ...] = ()
    """Only these backends."""
    engine: str | None = None
    """The engine that every cell is to use."""
    locked: bool = False
    """Whether playbooks that are not as they were locked are refused; asked where they are read."""
    shards: int | None = 1
    """Into how many shards the cells are packed, at most; ``None`` leaves it to the next two."""
    target_minutes: float | None = None
    """How long a shard is to take; absent: what ``data/packing.yaml`` says."""
    max_shards: int | None = None
    """At most so many shards; absent: what ``data/packing.yaml`` says."""
    runners: tuple[RunnerClass, ...] = ()
    """The classes of machines; without any, one machine is to take every cell."""
    fork: bool = False
    """Whether the plan is for a fork's pull request."""


@dataclass(frozen=True, kw_only=True)
class _Variant:
    format: ModelFormat
    quantization: str | None


@dataclass(frozen=True, kw_only=True)
class _Cells:
    cells: tuple[PlannedCell, ...]
    places: tuple[ComparedPlace, ...]
    """For each cell, where its comparisons are made."""


def expand(
    playbooks: Sequence[LoadedPlaybook],
    *,
    options: PlanOptions,
    tool_version: str,
    root: Path,
    baselines: dict[str, Baseline] | None = None,
    timings: Timings | None = None,
) -> Plan:
    """Expand playbooks into a plan. Pure: the same values give the same plan.

    Args:
        playbooks: at least one, with distinct names.
        options: what the user asks for.
        tool_version: recorded in the plan.
        root: what paths in the plan are relative to, so that the plan says the same on every
            machine that has the repository.
        baselines: the last accepted certificates by playbook name.
        timings: what cells took before; shards are packed by it, and nothing else depends on it.

    Raises:
        InputError: unknown tier, nothing left to test, a glob that matches nothing, or too few
            shards.
    """
    tiers = {loaded.playbook.name: _tier_of(loaded, options) for loaded in playbooks}
    expanded = {loaded.playbook.name: _cells(loaded, tiers, options) for loaded in playbooks}
    cells = {name: each.cells for name, each in expanded.items()}
    known = [cell.id for group in cells.values() for cell in group]
    chosen = set(select(known, options.only)) if options.only else set(known)
    if options.backends:
        wanted = {str(backend) for backend in options.backends}
        chosen = {
            cell.id
            for group in cells.values()
            for cell in group
            if cell.id in chosen and cell.backend in wanted
        }
    kept = tuple(cell for group in cells.values() for cell in group if cell.id in chosen)
    if not kept:
        raise InputError(
            Problem(
                what="nothing is left to test after tier, --backend and --only",
                hint="`aprqa plan PLAYBOOK --print` lists what there is",
            )
        )
    planned = []
    for loaded in playbooks:
        name = loaded.playbook.name
        own = [cell for cell in kept if cell.playbook == name]
        if own:
            baseline = (baselines or {}).get(name)
            narrowed = len(own) < len(cells[name])
            planned.append(
                planned_playbook(
                    loaded,
                    tier=tiers[name],
                    cells=own,
                    uncompared=left_out(loaded.playbook, tiers[name], expanded[name].places, own),
                    truth=_compared_with(loaded, tiers[name]),
                    narrowed=narrowed,
                    baseline=baseline,
                    root=root,
                )
            )
            kept = _with_baseline(kept, name, tiers[name], baseline)
    packed = pack(
        kept,
        planned,
        ShardOptions(
            shards=options.shards,
            target_minutes=options.target_minutes,
            max_shards=options.max_shards,
            runners=options.runners,
            fork=options.fork,
            timings=timings or {},
        ),
    )
    return Plan(
        tool_version=tool_version,
        playbooks=tuple(planned),
        cells=kept,
        shards=packed.shards,
        unplaced=packed.unplaced,
        deferred=packed.deferred,
    )


def _tier_of(loaded: LoadedPlaybook, options: PlanOptions) -> Tier:
    if options.tier is not None:
        return tier_named(options.tier)
    declared = declared_tier(loaded.playbook)
    if declared is not None:
        try:
            return tier_named(declared)
        except InputError:
            # metadata.tier is free text in the field's playbooks; an unknown word decides nothing.
            return tier_named(default_tier())
    return tier_named(default_tier())


def _variants(playbook: Playbook, tier: Tier) -> list[_Variant]:
    variants = []
    for format_ in playbook.model.formats[: tier.formats]:
        if format_ is ModelFormat.GGUF:
            variants += [
                _Variant(format=format_, quantization=name)
                for name in playbook.model.quantizations[: tier.quantizations]
            ]
        else:
            variants.append(_Variant(format=format_, quantization=None))
    return variants


def _ground_truth(variants: Sequence[_Variant]) -> _Variant | None:
    """Return the SafeTensors weights, else the most precise GGUF."""
    for variant in variants:
        if variant.format is ModelFormat.SAFETENSORS:
            return variant
    precision = list(quantization_catalogue())
    ranked = [variant for variant in variants if variant.format is ModelFormat.GGUF]
    return min(ranked, key=lambda each: precision.index(each.quantization or ""), default=None)


def _compared_with(loaded: LoadedPlaybook, tier: Tier) -> GroundTruth | None:
    truth = _ground_truth(_variants(loaded.playbook, tier))
    if truth is None or not _FILE_CHECKS.intersection(tier.checks):
        return None
    return GroundTruth(format=truth.format, quantization=truth.quantization)


def _cells(loaded: LoadedPlaybook, tiers: dict[str, Tier], options: PlanOptions) -> _Cells:
    playbook = loaded.playbook
    tier, matrix = tiers[playbook.name], playbook.test_matrix
    backends = [
        backend for backend in matrix.backends if tier.backends is None or backend in tier.backends
    ]
    variants = _variants(playbook, tier)
    frames = [
        (modality, backend, variant)
        for modality in matrix.modalities
        for backend in backends
        for variant in variants
    ]
    if not frames:
        what = f"tier {tier.name} takes none of the backends that the playbook declares"
        raise InputError(Problem(what=what, path=loaded.path))
    per_cell = _scenarios_per_cell(playbook, tier, len(frames))
    source = PromptSource(playbook, tier)
    sections = SectionPrompts(playbook, len(frames))
    truth = _ground_truth(variants)
    first: dict[tuple[Backend, _Variant], Modality] = {}
    for modality, backend, variant in frames:
        first.setdefault((backend, variant), modality)
    compared_with = _compared_with(loaded, tier)
    cells = []
    places = []
    for index, (modality, backend, variant) in enumerate(frames):
        name = cell_id(playbook.name, modality, backend, variant.format, variant.quantization)
        checks = [
            gate
            for gate in tier.checks
            if _check_applies(
                gate,
                modality=modality,
                variant=variant,
                backend=backend,
                truth=truth,
                first=first[backend, variant] is modality,
                engine=options.engine,
            )
        ]
        place = ComparedPlace(
            format=variant.format,
            quantization=variant.quantization,
            backend=backend,
            engine=options.engine,
            truth=compared_with,
            first=first[backend, variant] is modality,
            first_backend=backend is backends[0],
            alone=len(variants) == 1,
        )
        checks += comparison_gates(playbook, tier, place)
        places.append(place)
        frame = Frame(
            modality=modality,
            backend=backend,
            format=variant.format,
            first=first[backend, variant] is modality,
        )
        checks += parity_checks(playbook, frame, variant.quantization)
        prompts = [
            *source.cell_prompts(modality, backend, per_cell),
            *sections.of_cell(index, frame),
        ]
        cells.append(
            PlannedCell(
                id=name,
                playbook=playbook.name,
                modality=modality,
                backend=backend,
                format=variant.format,
                quantization=variant.quantization,
                engine=options.engine,
                timeout_ms=matrix.timeout_ms,
                scenarios=_scenarios(name, _inspected(variant, truth), prompts, checks),
            )
        )
    return _Cells(cells=tuple(cells), places=tuple(places))


def _scenarios_per_cell(playbook: Playbook, tier: Tier, cells: int) -> int:
    """Raise the playbook's own count until the tier's minimum and every prompt are reached.

    Every second scenario takes a prompt of the playbook, so that suites are never crowded out.
    """
    declared = len(playbook.test_matrix.prompts or ())
    return max(
        playbook.test_matrix.scenario_count,
        ceil(tier.minimum_scenarios / cells),
        ceil(2 * declared / cells),
    )


def _check_applies(
    gate: str,
    *,
    modality: Modality,
    variant: _Variant,
    backend: Backend,
    truth: _Variant | None,
    first: bool,
    engine: str | None,
) -> bool:
    """Say whether a check can show anything in that cell."""
    if gate in BASELINE_GATES:
        return False
    if gate in _SERVE_CHECKS:
        return modality is Modality.SERVE
    if gate in _FILE_CHECKS and not first:
        return False
    if gate == "F-REGR-ROUNDTRIP-001":
        return backend is Backend.CPU and variant.format is not ModelFormat.APR
    if gate == "F-COMP-AGREE-001":
        # The ground truth is the reference engine on the cpu; comparing it with itself would
        # always agree and show nothing.
        itself = variant == truth and backend is Backend.CPU
        by_itself = variant.format is ModelFormat.SAFETENSORS or engine == "reference"
        return truth is not None and not (itself and by_itself)
    return True


def _inspected(variant: _Variant, truth: _Variant | None) -> list[str]:
    """Return the G0 gates of a variant; GGUF metadata are held against SafeTensors, or not."""
    compared = truth is not None and truth.format is ModelFormat.SAFETENSORS
    return [gate for gate in inspect_gate_ids(variant.format) if gate != METADATA_GATE or compared]


def _scenarios(
    cell: str,
    inspected: Sequence[str],
    prompts: Sequence[tuple[str, PromptCase]],
    checks: Sequence[str],
) -> tuple[PlannedScenario, ...]:
    gates = gate_catalogue()
    derived = [gate.id for gate in gates.values() if gate.gateway and gate.made_by == "derived"]
    scenarios = [
        PlannedScenario(id=f"{cell}#{gate}", gate_id=gate) for gate in (*inspected, "G1-LOAD")
    ]
    scenarios += [
        PlannedScenario(id=prompt_id(cell, number), gate_id=gate, prompt=case)
        for number, (gate, case) in enumerate(prompts, start=1)
    ]
    scenarios += [
        PlannedScenario(id=f"{cell}#{gate}", gate_id=gate) for gate in (*checks, *derived)
    ]
    return tuple(scenarios)


def _with_baseline(
    cells: tuple[PlannedCell, ...], playbook: str, tier: Tier, baseline: Baseline | None
) -> tuple[PlannedCell, ...]:
    if baseline is None:
        return cells
    return tuple(
        msgspec.structs.replace(
            cell,
            scenarios=(
                *cell.scenarios,
                *(
                    PlannedScenario(id=f"{cell.id}#{gate}", gate_id=gate)
                    for gate in _baseline_gates(cell, tier, baseline.cells[cell.id])
                ),
            ),
        )
        if cell.playbook == playbook and cell.id in baseline.cells
        else cell
        for cell in cells
    )


def _baseline_gates(cell: PlannedCell, tier: Tier, before: BaselineCell) -> tuple[str, ...]:
    """Return what can be held against the last certificate: what became of the same questions."""
    same = before.questions == questions_digest(cell)
    return tuple(
        gate for gate in BASELINE_GATES if gate in tier.checks and (same or gate != LOSS_GATE)
    )
