import os
from collections.abc import Mapping, Sequence
from pathlib import Path

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
    Plan,
    PlannedCell,
    PlannedModel,
    PlannedPlaybook,
    PlannedScenario,
    PromptCase,
    plan_digest,
)
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import load_policy
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import (
    Backend,
    FailurePolicy,
    Modality,
    ModelFormat,
    Outcome,
    SizeCategory,
)

BEFORE = ("G0-DIGEST-001", "G1-LOAD")
PROMPTS = ("F-A1-001", "F-A1-001", "F-A1-001", "F-EDGE-JSON-001")
CHECKS = ("F-STAB-REPEAT-001", "F-PERF-TPS-001", "F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001")
DERIVED = ("G2-BASIC", "G3-STABLE", "G4-GARBAGE")


class Bench:
    """Makes plans and evidence of them."""

    def plan(
        self,
        *,
        tier: str = "mvp",
        narrowed: bool = False,
        playbooks: Sequence[str] = ("book",),
        prompts: Sequence[str] = PROMPTS,
        checks: Sequence[str] = CHECKS,
        formats: Sequence[ModelFormat] = (ModelFormat.GGUF, ModelFormat.SAFETENSORS),
    ) -> Plan:
        cells = [
            self._cell(playbook, format_, prompts, checks)
            for playbook in playbooks
            for format_ in formats
        ]
        return Plan(
            tool_version="0.1.0",
            playbooks=tuple(self._playbook(name, tier, narrowed=narrowed) for name in playbooks),
            cells=tuple(cells),
            shards=(),
        )

    def _playbook(self, name: str, tier: str, *, narrowed: bool) -> PlannedPlaybook:
        return PlannedPlaybook(
            name=name,
            path=f"playbooks/{name}.yaml",
            digest="d" * 64,
            version="1.0.0",
            model=PlannedModel(
                hf_repo="org/model",
                revision="main",
                formats=(ModelFormat.GGUF, ModelFormat.SAFETENSORS),
                size_category=SizeCategory.TINY,
                family="llama",
            ),
            tier=tier,
            seed=0,
            failure_policy=FailurePolicy.COLLECT_ALL,
            narrowed=narrowed,
            declared_not_run=("fuzzing",),
        )

    def _cell(
        self, playbook: str, format_: ModelFormat, prompts: Sequence[str], checks: Sequence[str]
    ) -> PlannedCell:
        name = f"{playbook}:run-cpu-{format_}"
        case = PromptCase(turns=("What is 2+2?",), oracle=OracleSpec(kind="arithmetic"))
        scenarios = [PlannedScenario(id=f"{name}#{gate}", gate_id=gate) for gate in BEFORE]
        scenarios += [
            PlannedScenario(id=f"{name}#{number:03d}", gate_id=gate, prompt=case)
            for number, gate in enumerate(prompts, start=1)
        ]
        scenarios += [
            PlannedScenario(id=f"{name}#{gate}", gate_id=gate) for gate in (*checks, *DERIVED)
        ]
        return PlannedCell(
            id=name,
            playbook=playbook,
            modality=Modality.RUN,
            backend=Backend.CPU,
            format=format_,
            quantization="q8_0" if format_ is ModelFormat.GGUF else None,
            timeout_ms=1000,
            scenarios=tuple(scenarios),
        )

    def record(
        self,
        gate_id: str,
        outcome: Outcome = Outcome.CORROBORATED,
        *,
        number: int = 0,
        scenario: str | None = None,
        plan: str | None = None,
        run_id: str | None = None,
        attempt: str | None = None,
        cause: str | None = None,
        reason: str = "because",
        model: str = "org/model",
        timestamp: str | None = None,
        tokens_per_second: float | None = None,
        format_: ModelFormat = ModelFormat.GGUF,
        metadata: dict[str, str] | None = None,
    ) -> EvidenceRecord:
        org, _, name = model.partition("/")
        told = {
            MetadataKey.SCENARIO: scenario,
            MetadataKey.PLAN: plan,
            MetadataKey.RUN_ID: run_id,
            MetadataKey.ATTEMPT: attempt,
            MetadataKey.CAUSE: cause,
            MetadataKey.CELL: scenario and scenario.partition("#")[0],
        }
        return EvidenceRecord(
            id=f"{number:032x}",
            gate_id=gate_id,
            scenario=EvidenceScenario(
                id=f"model_run_cpu_{number}",
                model=EvidenceModel(org=org, name=name),
                modality=Modality.RUN,
                backend=Backend.CPU,
                format=format_,
                prompt="What is 2+2?",
                temperature=0.0,
                max_tokens=32,
                seed=0,
                oracle_type="arithmetic",
            ),
            outcome=outcome,
            reason=reason,
            output="4",
            metrics=EvidenceMetrics(tokens_per_second=tokens_per_second, duration_ms=5),
            timestamp=timestamp or f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}Z",
            host=EvidenceHost(
                hostname="box", os="linux", cpu="x", gpu=None, apr_version="aprqa-ci/0.1.0"
            ),
            metadata={key.value: value for key, value in told.items() if value is not None}
            | (metadata or {}),
        )

    def evidence(
        self,
        plan: Plan,
        outcomes: Mapping[str, Outcome | None] | None = None,
        *,
        causes: Mapping[str, str] | None = None,
        run_id: str = "run-1",
        start: int = 0,
    ) -> list[EvidenceRecord]:
        """Make one record per scenario: Corroborated, but for ``outcomes``; None leaves it out."""
        records: list[EvidenceRecord] = []
        for cell in plan.cells:
            digest = plan_digest(plan.for_playbook(cell.playbook))
            for scenario in cell.scenarios:
                outcome = (outcomes or {}).get(scenario.id, Outcome.CORROBORATED)
                if outcome is None:
                    continue
                records.append(
                    self.record(
                        scenario.gate_id,
                        outcome,
                        number=start + len(records),
                        scenario=scenario.id,
                        plan=digest,
                        run_id=run_id,
                        cause=(causes or {}).get(scenario.id),
                        tokens_per_second=40.0 if scenario.gate_id == "F-PERF-TPS-001" else 9.0,
                        format_=cell.format,
                        metadata={"engine": "reference", "engine_version": "0.1.0"},
                    )
                )
        return records

    def score(
        self,
        records: Sequence[EvidenceRecord],
        plan: Plan | None,
        *,
        policy: str = "aprqa-1",
        playbook: str | None = None,
    ) -> Score:
        return score_evidence(records, plan=plan, playbook=playbook, policy=load_policy(policy))


@pytest.fixture(scope="session")
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "reference"
    folder = Path(os.environ.get("APRQA_REFERENCE", default))
    if not (folder / "reference-scores.json").exists():
        pytest.skip(f"{folder} has no reference-scores.json; set APRQA_REFERENCE to its folder")
    return folder


@pytest.fixture(scope="session")
def corpus() -> Path:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    folder = Path(os.environ.get("APRQA_CORPUS", default))
    if not (folder / "certifications").exists():
        pytest.skip(f"{folder} is missing; set APRQA_CORPUS to the folder of the corpus")
    return folder
