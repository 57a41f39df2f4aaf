"""Plans made by hand: small cells whose scenarios a test names one by one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aprqa_ci.gates import gate_catalogue, inspect_gate_ids
from aprqa_ci.planning.identifiers import cell_id, prompt_id
from aprqa_ci.planning.plan import (
    GroundTruth,
    OracleSpec,
    PerformanceLimits,
    Plan,
    PlannedCell,
    PlannedModel,
    PlannedPlaybook,
    PlannedScenario,
    PromptCase,
)
from aprqa_ci.vocabulary import Backend, FailurePolicy, Modality, ModelFormat, SizeCategory

__all__ = ["PLAYBOOK", "cell_of", "plan_of", "playbook_of", "prompt_of"]

PLAYBOOK = "tiny-mvp"
_DERIVED = ("G2-BASIC", "G3-STABLE", "G4-GARBAGE")
_EASY = PerformanceLimits(min_throughput=0.01, max_ttft_ms=6e5, max_p50_ms=6e5, max_p99_ms=6e5)


def prompt_of(*turns: str, **replaced: Any) -> PromptCase:
    """Return a question that any answer is right for unless it has a word that none has."""
    case = PromptCase(
        turns=turns or ("the end",),
        oracle=OracleSpec(kind="contains", config={"none": ["no answer has this"]}),
    )
    return msgspec.structs.replace(case, **{"max_tokens": 4, **replaced})


def cell_of(
    *,
    modality: Modality = Modality.RUN,
    backend: Backend = Backend.CPU,
    format: ModelFormat = ModelFormat.GGUF,  # noqa: A002 - the word of the field
    quantization: str | None = "f16",
    prompts: Sequence[PromptCase] = (),
    checks: Sequence[str] = (),
    inspect: bool = False,
    load: bool = True,
    derived: Sequence[str] = _DERIVED,
    engine: str | None = None,
    timeout_ms: int = 20_000,
    playbook: str = PLAYBOOK,
) -> PlannedCell:
    """Return a cell with the named scenarios, in the order of a real plan."""
    if format is not ModelFormat.GGUF:
        quantization = None
    name = cell_id(playbook, modality, backend, format, quantization)
    gates = [*(inspect_gate_ids(format) if inspect else ()), *(["G1-LOAD"] if load else [])]
    scenarios = [PlannedScenario(id=f"{name}#{gate}", gate_id=gate) for gate in gates]
    scenarios += [
        PlannedScenario(id=prompt_id(name, number), gate_id="F-A1-001", prompt=case)
        for number, case in enumerate(prompts, start=1)
    ]
    scenarios += [
        PlannedScenario(id=f"{name}#{gate}", gate_id=gate) for gate in (*checks, *derived)
    ]
    assert {each.gate_id for each in scenarios} <= set(gate_catalogue())
    return PlannedCell(
        id=name,
        playbook=playbook,
        modality=modality,
        backend=backend,
        format=format,
        quantization=quantization,
        engine=engine,
        timeout_ms=timeout_ms,
        scenarios=tuple(scenarios),
    )


def playbook_of(**replaced: Any) -> PlannedPlaybook:
    """Return a playbook that asks nothing hard."""
    playbook = PlannedPlaybook(
        name=PLAYBOOK,
        path="tiny.playbook.yaml",
        digest="0" * 64,
        version="1.0.0",
        model=PlannedModel(
            hf_repo="aprqa/tiny",
            local_path="model",
            formats=(ModelFormat.SAFETENSORS, ModelFormat.GGUF),
            quantizations=("f16",),
            size_category=SizeCategory.TINY,
        ),
        tier="mvp",
        seed=1,
        failure_policy=FailurePolicy.COLLECT_ALL,
        performance={Backend.CPU: _EASY},
        probe_prompts=(prompt_of("the end"), prompt_of("in and out")),
        measured_prompt=prompt_of("the word"),
        warmup=1,
        measure=2,
        ground_truth=GroundTruth(format=ModelFormat.SAFETENSORS),
    )
    return msgspec.structs.replace(playbook, **replaced)


def plan_of(*cells: PlannedCell, playbook: PlannedPlaybook | None = None, **more: Any) -> Plan:
    """Return the plan of these cells, of one playbook."""
    settings: Mapping[str, Any] = {"tool_version": "0", "shards": (), **more}
    return Plan(playbooks=(playbook or playbook_of(),), cells=cells, **settings)
