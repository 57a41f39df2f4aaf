"""What a plan says of one playbook: all that execution and scoring need to know of it."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import msgspec

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.baseline import Baseline
from aprqa_ci.planning.differential import comparison_settings
from aprqa_ci.planning.falsification import planned_gates
from aprqa_ci.planning.oracle_settings import oracle_settings
from aprqa_ci.planning.parity import parity_not_run, planned_parity
from aprqa_ci.planning.performance import (
    answer_tokens,
    asks_for_profile,
    default_limits,
    limits_for,
    measured_text,
    profile_gates_not_run,
    profiled_formats,
)
from aprqa_ci.planning.plan import (
    GroundTruth,
    OracleSpec,
    PlannedCell,
    PlannedModel,
    PlannedPlaybook,
    PromptCase,
)
from aprqa_ci.planning.section_prompts import sections_not_run
from aprqa_ci.planning.suites import draw_prompt, load_suites
from aprqa_ci.planning.tiers import Tier
from aprqa_ci.playbook.declared import DECLARED_NOT_RUN
from aprqa_ci.playbook.load import LoadedPlaybook
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import Category, Gateway, Modality, ModelFormat

__all__ = ["planned_playbook"]

_PROBE_PROMPTS = 4


def planned_playbook(
    loaded: LoadedPlaybook,
    *,
    tier: Tier,
    cells: Sequence[PlannedCell],
    uncompared: Mapping[str, str],
    truth: GroundTruth | None,
    narrowed: bool,
    baseline: Baseline | None,
    root: Path,
) -> PlannedPlaybook:
    """Return what a plan says of one playbook.

    Args:
        loaded: the playbook.
        tier: the tier that it is planned for.
        cells: its cells that are kept.
        uncompared: comparisons that it asks for and its cells have not, with the reasons.
        truth: what other formats are compared with.
        narrowed: whether cells were left out by the user.
        baseline: the last accepted certificate.
        root: what paths in the plan are relative to.
    """
    playbook = loaded.playbook
    suites = load_suites()
    seed = playbook.test_matrix.seed
    probes = [
        draw_prompt(suites[name], index, seed=seed, modality=Modality.RUN).case
        for index, name in enumerate((*tier.suites * _PROBE_PROMPTS,)[:_PROBE_PROMPTS])
        if suites[name].has(Modality.RUN)
    ]
    own = planned_gates(playbook, cells, baseline=baseline is not None)
    left_out = dict(
        chain(
            ((path, DECLARED_NOT_RUN[path]) for path in loaded.declared_not_run),
            sections_not_run(playbook, cells),
            profile_gates_not_run(playbook, cells),
            parity_not_run(playbook, cells),
            uncompared.items(),
        )
    )
    profiled = profiled_formats(playbook)
    return PlannedPlaybook(
        name=playbook.name,
        path=_relative(loaded.path, root),
        digest=loaded.digest,
        version=playbook.version,
        model=_model(loaded, root),
        tier=tier.name,
        seed=seed,
        failure_policy=playbook.failure_policy,
        narrowed=narrowed,
        declared_not_run=tuple(sorted((*own.not_run, *left_out))),
        warnings=(
            *(str(warning) for warning in loaded.warnings),
            *_uncovered(tier, cells),
            *own.warnings,
            *(f"{path} is not run: {reason}" for path, reason in left_out.items()),
        ),
        performance=limits_for(playbook),
        oracles=oracle_settings(playbook),
        warmup=playbook.profile_ci.warmup if playbook.profile_ci else 1,
        measure=playbook.profile_ci.measure if playbook.profile_ci else 5,
        ground_truth=truth,
        probe_prompts=tuple(
            msgspec.structs.replace(case, max_tokens=min(case.max_tokens, answer_tokens()))
            for case in probes
        ),
        measured_prompt=PromptCase(
            turns=(measured_text(),),
            oracle=OracleSpec(kind="response"),
            max_tokens=answer_tokens(),
            seed=seed,
        ),
        baseline=baseline,
        gates=own.gates or msgspec.UNSET,
        formats_profiled=profiled or msgspec.UNSET,
        performance_elsewhere=default_limits(playbook) if profiled else msgspec.UNSET,
        profiled=asks_for_profile(playbook, cells) or msgspec.UNSET,
        parity=planned_parity(playbook, cells) or msgspec.UNSET,
        switched_off=_switched_off(playbook) or msgspec.UNSET,
        comparisons=comparison_settings(
            playbook, lambda name: Path(_relative(loaded.path.parent / name, root))
        )
        or msgspec.UNSET,
    )


def _switched_off(playbook: Playbook) -> tuple[Gateway, ...]:
    switches = {
        Gateway.G1: playbook.gates.g1_model_loads,
        Gateway.G2: playbook.gates.g2_basic_inference,
        Gateway.G3: playbook.gates.g3_no_crashes,
        Gateway.G4: playbook.gates.g4_output_quality,
    }
    return tuple(gateway for gateway, on in switches.items() if not on)


def _uncovered(tier: Tier, cells: Sequence[PlannedCell]) -> tuple[str, ...]:
    """Name what a certifying run leaves out, and why that is."""
    if not tier.certifying:
        return ()
    gates = gate_catalogue()
    covered = {gates[scenario.gate_id].category for cell in cells for scenario in cell.scenarios}
    named = [
        f"category {category} is not covered: no cell of this matrix has anything to show for it"
        for category in Category
        if category not in covered
    ]
    formats = {cell.format for cell in cells}
    if ModelFormat.GGUF in formats and ModelFormat.SAFETENSORS not in formats:
        named.append("GGUF metadata are compared with nothing: no SafeTensors are in this run")
    return tuple(named)


def _model(loaded: LoadedPlaybook, root: Path) -> PlannedModel:
    model = loaded.playbook.model
    expected = {
        "hidden_dim": model.expected_hidden_dim,
        "num_layers": model.expected_num_layers,
        "num_heads": model.expected_num_heads,
        "num_kv_heads": model.expected_num_kv_heads,
        "vocab_size": model.expected_vocab_size,
        "intermediate_dim": model.expected_intermediate_dim,
    }
    return PlannedModel(
        hf_repo=model.hf_repo,
        revision=model.revision,
        local_path=_relative(loaded.local_path, root) if loaded.local_path else None,
        formats=tuple(model.formats),
        quantizations=tuple(model.quantizations),
        size_category=model.size_category,
        family=model.family,
        size_variant=model.size_variant,
        expected={name: value for name, value in expected.items() if value is not None},
    )


def _relative(path: Path, root: Path) -> str:
    absolute = path.absolute()
    if absolute.is_relative_to(root):
        return absolute.relative_to(root).as_posix()
    return absolute.as_posix()
