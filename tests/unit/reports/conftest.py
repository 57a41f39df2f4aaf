import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.evidence.record import (
    EvidenceHost,
    EvidenceMetrics,
    EvidenceModel,
    EvidenceRecord,
    EvidenceScenario,
    MetadataKey,
)
from aprqa_ci.planning.plan import (
    OracleSpec,
    PlacedOut,
    Plan,
    PlannedCell,
    PlannedModel,
    PlannedPlaybook,
    PlannedScenario,
    PromptCase,
    digest_for_playbook,
)
from aprqa_ci.reports.run_report import ReportedScenario, RunReport, run_report
from aprqa_ci.scoring.certificate import build_certificate
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import load_policy
from aprqa_ci.vocabulary import (
    Backend,
    FailurePolicy,
    Modality,
    ModelFormat,
    Outcome,
    SizeCategory,
)
from aprqa_ci.wire import decode_wire

GATES = ("G0-DIGEST-001", "G1-LOAD", "G2-BASIC", "G3-STABLE", "G4-GARBAGE", "F-PERF-TPS-001")

Report = Callable[..., RunReport]


def planned_cell(model_format: ModelFormat, quantization: str | None, prompts: int) -> PlannedCell:
    name = f"tiny:run-cpu-{model_format}" + (f"-{quantization}" if quantization else "")
    question = PromptCase(turns=("What is 2+2?",), oracle=OracleSpec(kind="arithmetic"))
    return PlannedCell(
        id=name,
        playbook="tiny",
        modality=Modality.RUN,
        backend=Backend.CPU,
        format=model_format,
        quantization=quantization,
        timeout_ms=1000,
        scenarios=(
            *(PlannedScenario(id=f"{name}#{gate}", gate_id=gate) for gate in GATES),
            *(
                PlannedScenario(id=f"{name}#{n:03d}", gate_id="F-A1-001", prompt=question)
                for n in range(1, prompts + 1)
            ),
        ),
    )


def planned(
    tier: str = "mvp",
    prompts: int = 3,
    *,
    narrowed: bool = False,
    unplaced: Sequence[str] = (),
    deferred: Sequence[str] = (),
) -> Plan:
    return Plan(
        tool_version="0.1.0",
        playbooks=(
            PlannedPlaybook(
                name="tiny",
                path="tiny.playbook.yaml",
                digest="a" * 64,
                version="1.0.0",
                model=PlannedModel(
                    hf_repo="org/tiny-1M",
                    formats=(ModelFormat.SAFETENSORS, ModelFormat.GGUF),
                    size_category=SizeCategory.TINY,
                    family="llama",
                ),
                tier=tier,
                seed=0,
                failure_policy=FailurePolicy.COLLECT_ALL,
                narrowed=narrowed,
                declared_not_run=("verify.ticket",),
            ),
        ),
        cells=(
            planned_cell(ModelFormat.SAFETENSORS, None, prompts),
            planned_cell(ModelFormat.GGUF, "q8_0", prompts),
        ),
        shards=(),
        unplaced=tuple(PlacedOut(cell=each, reason="too | large") for each in unplaced),
        deferred=tuple(PlacedOut(cell=each, reason="only `gpu` could") for each in deferred),
    )


def records_of(plan: Plan) -> list[EvidenceRecord]:
    """Return a record of every planned scenario, all corroborated."""
    digest = digest_for_playbook(plan, "tiny")
    return [
        EvidenceRecord(
            id=f"{index:032x}",
            gate_id=scenario.gate_id,
            scenario=EvidenceScenario(
                id=scenario.id,
                model=EvidenceModel(org="org", name="tiny-1M"),
                modality=cell.modality,
                backend=cell.backend,
                format=cell.format,
                prompt=scenario.prompt.turns[0] if scenario.prompt else "",
                temperature=0.0,
                max_tokens=32,
                seed=0,
                oracle_type="arithmetic",
            ),
            outcome=Outcome.CORROBORATED,
            reason="4 is right",
            output="4" if scenario.prompt else "",
            metrics=EvidenceMetrics(
                duration_ms=250,
                tokens_per_second=48.26 if scenario.gate_id == "F-PERF-TPS-001" else None,
                time_to_first_token_ms=12.5 if scenario.gate_id == "F-PERF-TPS-001" else None,
            ),
            timestamp=f"2026-11-02T10:00:{index:02d}Z",
            host=EvidenceHost(
                hostname="bench", os="Linux", cpu="a cpu", apr_version="aprqa-ci/0.1.0"
            ),
            metadata={
                MetadataKey.RUN_ID.value: "run-1",
                MetadataKey.SCENARIO.value: scenario.id,
                MetadataKey.CELL.value: cell.id,
                MetadataKey.PLAN.value: digest,
                MetadataKey.ENGINE.value: "reference",
                MetadataKey.ENGINE_VERSION.value: "1",
            },
        )
        for index, (cell, scenario) in enumerate(
            (cell, scenario) for cell in plan.cells for scenario in cell.scenarios
        )
    ]


def changed(record: EvidenceRecord, **changes: Any) -> EvidenceRecord:
    """Return the record with other fields; ``prompt`` reaches inside, ``metadata`` adds."""
    if "prompt" in changes:
        scenario = msgspec.structs.replace(record.scenario, prompt=changes.pop("prompt"))
        changes["scenario"] = scenario
    changes["metadata"] = record.metadata | changes.get("metadata", {})
    if "cause" in changes:
        changes["metadata"][MetadataKey.CAUSE.value] = changes.pop("cause")
    return msgspec.structs.replace(record, **changes)


def reported(plan: Plan, records: Sequence[EvidenceRecord]) -> RunReport:
    score = score_evidence(records, plan=plan, playbook="tiny", policy=load_policy())
    certificate = build_certificate(
        score,
        plan,
        "tiny",
        records,
        evidence_digest="e" * 64,
        model_digests={"gguf-q8_0": {"model.gguf": "f" * 64}},
        tool_version="0.1.0",
    )
    return run_report(certificate, score, records)


@pytest.fixture
def make() -> Report:
    """Make a report of a run in which everything went well, but for the changes by scenario.

    A change of None leaves the scenario without a record. ``again`` says how a second attempt at
    some of the scenarios ended.
    """

    def build(
        changes: dict[str, dict[str, Any] | None] | None = None,
        *,
        again: dict[str, dict[str, Any]] | None = None,
        **plan: Any,
    ) -> RunReport:
        whole = planned(**plan)
        left = dict(changes or {})
        records = []
        for record in records_of(whole):
            change = left.pop(record.scenario.id, {})
            if change is not None:
                records.append(changed(record, **change))
        assert not left, f"no such scenario: {list(left)}"
        for record in records_of(whole):
            if (change := (again or {}).get(record.scenario.id)) is not None:
                more = change.get("metadata", {}) | {MetadataKey.ATTEMPT.value: "2"}
                second = changed(record, **change | {"metadata": more})
                records.append(msgspec.structs.replace(second, id=f"f{second.id[1:]}"))
        return reported(whole, records)

    return build


@pytest.fixture
def corpus_reports(make: Report) -> list[RunReport]:
    """Return a report on each real evidence file, under a certificate that is only a frame."""
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    corpus = Path(os.environ.get("APRQA_CORPUS", default))
    paths = sorted(corpus.glob("certifications/*/evidence.json"))
    if not paths:
        pytest.skip(f"{corpus} holds no evidence; set APRQA_CORPUS to the folder of the corpus")
    frame = make()
    reports = []
    for path in paths:
        records = decode_wire(path.read_bytes(), list[EvidenceRecord], source=path)
        score = score_evidence(records, plan=None, playbook=None, policy=load_policy("apr-qa-0"))
        by_id = {record.id: record for record in records}
        entries = (
            ReportedScenario(
                name=f"{entry.scenario} {index}", score=entry, record=by_id[entry.records[0]]
            )
            for index, entry in enumerate(score.scenarios)
        )
        reports.append(
            RunReport(certificate=frame.certificate, score=score, scenarios=tuple(entries))
        )
    return reports
