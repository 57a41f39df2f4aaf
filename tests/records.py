"""Evidence made in memory: one record per scenario of a plan, as a run would leave them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from aprqa_ci.evidence.building import RecordContext, record_of
from aprqa_ci.evidence.merging import ShardEvidence, ShardManifest
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord
from aprqa_ci.execution.result import Cause, EngineRun, Metrics, ScenarioResult
from aprqa_ci.planning.plan import (
    Plan,
    PlannedCell,
    PlannedScenario,
    digest_for_playbook,
    plan_digest,
)
from aprqa_ci.vocabulary import Outcome

__all__ = ["HOST", "NOON", "context_of", "made_records", "made_shard", "result_of"]

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOST = EvidenceHost(hostname="box", os="linux", cpu="x", gpu=None, apr_version="aprqa-ci/0.0.0")
ENGINE = EngineRun(
    engine="reference", version="0.0.0", device="cpu (numpy)", invocation="reference model"
)


def result_of(
    cell: PlannedCell,
    scenario: PlannedScenario,
    outcome: Outcome = Outcome.CORROBORATED,
    *,
    cause: str | None = None,
    finished_at: datetime = NOON,
) -> ScenarioResult:
    """What execution says of one scenario."""
    kind, _, word = (cause or "").partition(":")
    return ScenarioResult(
        cell=cell,
        scenario=scenario,
        outcome=outcome,
        reason="because",
        output="4",
        metrics=Metrics(tokens_per_second=40.0, total_tokens=8, duration_ms=200.0),
        cause=Cause(kind=kind, word=word) if cause else None,
        engine=ENGINE,
        finished_at=finished_at,
    )


def context_of(
    plan: Plan, playbook: str, *, run_id: str = "run-1", attempt: int = 1
) -> RecordContext:
    """What all records of one playbook's run have in common."""
    return RecordContext(
        run_id=run_id,
        plan_digest=digest_for_playbook(plan, playbook),
        hf_repo=plan.playbook_named(playbook).model.hf_repo,
        host=HOST,
        attempt=attempt,
    )


def made_records(
    plan: Plan,
    outcomes: Mapping[str, Outcome] | None = None,
    *,
    cause: str | None = None,
    cells: tuple[str, ...] | None = None,
    run_id: str = "run-1",
    attempt: int = 1,
    start: datetime = NOON,
) -> tuple[EvidenceRecord, ...]:
    """Make one record per scenario.

    Args:
        plan: the plan.
        outcomes: by scenario id; all others are Corroborated.
        cause: of the records that ``outcomes`` names.
        cells: only these cells.
        run_id: of the records.
        attempt: of the records.
        start: when the first one was made; the others follow a second apart.
    """
    records: list[EvidenceRecord] = []
    for cell in plan.cells:
        if cells is not None and cell.id not in cells:
            continue
        context = context_of(plan, cell.playbook, run_id=run_id, attempt=attempt)
        for scenario in cell.scenarios:
            named = scenario.id in (outcomes or {})
            moment = start + timedelta(seconds=len(records))
            result = result_of(
                cell,
                scenario,
                (outcomes or {}).get(scenario.id, Outcome.CORROBORATED),
                cause=cause if named else None,
                finished_at=moment,
            )
            name = f"{scenario.id} {run_id} {attempt} {start}"
            records.append(record_of(result, context, identifier=uuid5(NAMESPACE_URL, name)))
    return tuple(records)


def made_shard(
    plan: Plan,
    shard: str,
    *,
    attempt: int = 1,
    digests: Mapping[str, str] | None = None,
    outcomes: Mapping[str, Outcome] | None = None,
    code: int = 0,
) -> ShardEvidence:
    """Make the evidence of one shard of a plan, as if read from a directory of its name.

    Args:
        plan: the plan.
        shard: one of its shards.
        attempt: of the shard.
        digests: of the model's files.
        outcomes: by scenario id; all others are Corroborated.
        code: the exit code of the shard.
    """
    cells = next(each.cells for each in plan.shards if each.id == shard)
    return ShardEvidence(
        directory=Path(f"{shard}-{attempt}"),
        manifest=ShardManifest(
            plan_digest=plan_digest(plan),
            shard=shard,
            attempt=attempt,
            started="2026-01-02T12:00:00.000000Z",
            finished="2026-01-02T12:01:00.000000Z",
            host=HOST,
            exit=code,
            files={},
            model_digests={
                playbook.name: {"safetensors": dict(digests or {"model.safetensors": "a" * 64})}
                for playbook in plan.playbooks
            },
        ),
        records=made_records(plan, outcomes, cells=cells, attempt=attempt),
    )
