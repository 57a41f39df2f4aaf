"""From execution's results to evidence records, and back to what conclusions need of them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from aprqa_ci.evidence.record import (
    EvidenceHost,
    EvidenceMetrics,
    EvidenceModel,
    EvidenceRecord,
    EvidenceScenario,
    MetadataKey,
    PassedOverEngine,
)
from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.host import HostDescription
from aprqa_ci.execution.result import AnswerKind, EngineRun, ScenarioResult
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.identifiers import cell_of
from aprqa_ci.redaction import Redaction, redaction_of
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import canonical_json

__all__ = ["RecordContext", "carried_over", "cell_result", "host_of", "record_of", "utc_text"]

_KINDS: dict[str, AnswerKind] = {
    kind: kind for kind in ("", "garbage", "empty", "wrong", "engine-error")
}


@dataclass(frozen=True, kw_only=True)
class RecordContext:
    """What every record of one run has in common."""

    run_id: str
    plan_digest: str
    """The digest of the plan of the playbook alone."""
    hf_repo: str
    host: EvidenceHost
    attempt: int = 1
    redaction: Redaction = field(default_factory=lambda: redaction_of({}))
    """Takes secrets out of what engines, models and errors say."""


def utc_text(moment: datetime) -> str:
    """Return the moment as RFC 3339 in UTC with microseconds and ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def host_of(host: HostDescription, tool_version: str) -> EvidenceHost:
    """Return the host as records carry it."""
    return EvidenceHost(
        hostname=host.hostname,
        os=f"{host.os}; {host.kernel}",
        cpu=f"{host.cpu}, {host.memory_mb} MiB",
        gpu=host.gpu,
        apr_version=f"aprqa-ci/{tool_version}",
    )


def record_of(
    result: ScenarioResult, context: RecordContext, *, identifier: UUID
) -> EvidenceRecord:
    """Return the record of a result, without secrets. Pure.

    This is the one way into evidence: what has passed here is fit to be published. Texts that the
    plan holds already, the prompt among them, stay as they are.

    Args:
        result: the result.
        context: what is common to the run.
        identifier: a fresh random UUID.
    """
    cell, scenario, case = result.cell, result.scenario, result.scenario.prompt
    clean = context.redaction
    gate = gate_catalogue()[scenario.gate_id]
    org, _, name = context.hf_repo.partition("/")
    metadata = {
        MetadataKey.RUN_ID: context.run_id,
        MetadataKey.SCENARIO: scenario.id,
        MetadataKey.CELL: cell.id,
        MetadataKey.PLAN: context.plan_digest,
        MetadataKey.ATTEMPT: str(context.attempt),
        MetadataKey.QUANTIZATION: cell.quantization or "",
        MetadataKey.CAUSE: str(result.cause or ""),
        MetadataKey.KIND: result.kind,
        MetadataKey.ORACLES: clean(result.oracles),
        MetadataKey.FINISH: clean(result.finish),
        MetadataKey.SUITE: case.suite if case else "",
    }
    if result.source is not None:
        metadata |= {
            MetadataKey.MODEL_REPO: result.source.repo or "",
            MetadataKey.MODEL_COMMIT: result.source.commit or "",
        }
        if (derived := result.source.derived) is not None:
            metadata |= {
                MetadataKey.DERIVED_FROM: str(derived.format),
                MetadataKey.DERIVED_DIGEST: derived.digest,
                MetadataKey.DERIVED_BY: derived.tool,
            }
    if result.engine is not None:
        metadata |= {
            MetadataKey.ENGINE: result.engine.engine,
            MetadataKey.ENGINE_VERSION: clean(result.engine.version),
            MetadataKey.DEVICE: clean(result.engine.device),
            MetadataKey.INVOCATION: clean(result.engine.invocation),
            MetadataKey.ENGINE_OPTIONS: result.engine.options_digest,
            MetadataKey.ENGINE_PASSED_OVER: _passed_over(result.engine, clean),
        }
    return EvidenceRecord(
        id=identifier.hex,
        gate_id=scenario.gate_id,
        scenario=EvidenceScenario(
            id=scenario.id,
            model=EvidenceModel(org=org, name=name),
            modality=cell.modality,
            backend=cell.backend,
            format=cell.format,
            prompt="\n".join(case.turns) if case else gate.meaning,
            temperature=case.temperature if case else 0.0,
            max_tokens=case.max_tokens if case else 0,
            seed=case.seed if case else 0,
            oracle_type=case.oracle.kind if case else gate.made_by,
        ),
        outcome=result.outcome,
        reason=clean(result.reason),
        output=clean(result.output),
        stderr=None if result.stderr is None else clean(result.stderr),
        exit_code=result.exit_code,
        metrics=EvidenceMetrics(
            tokens_per_second=_rounded(result.metrics.tokens_per_second),
            time_to_first_token_ms=_rounded(result.metrics.time_to_first_token_ms),
            total_tokens=result.metrics.total_tokens,
            memory_peak_mb=result.metrics.memory_peak_mb,
            duration_ms=round(result.metrics.duration_ms),
        ),
        timestamp=utc_text(result.finished_at),
        host=context.host,
        metadata={str(key): value for key, value in metadata.items() if value},
    )


def _passed_over(engine: EngineRun, clean: Redaction) -> str:
    if not engine.passed_over:
        return ""
    found = [
        PassedOverEngine(engine=each.engine, version=clean(each.version), reason=clean(each.reason))
        for each in engine.passed_over
    ]
    return canonical_json(found).decode()


def carried_over(
    record: EvidenceRecord, scenario: str, context: RecordContext, *, identifier: UUID
) -> EvidenceRecord:
    """Return an earlier run's record as one of another run, which names where it comes from. Pure.

    Time, host, engine and answer stay those of the earlier record: nothing was asked again.

    Args:
        record: the earlier record.
        scenario: the id of the scenario that it is of now.
        context: what is common to the run.
        identifier: a fresh random UUID.
    """
    origin = f"{record.meta(MetadataKey.RUN_ID) or ''}/{record.id}"
    metadata = record.metadata | {
        MetadataKey.RUN_ID.value: context.run_id,
        MetadataKey.SCENARIO.value: scenario,
        MetadataKey.CELL.value: cell_of(scenario),
        MetadataKey.PLAN.value: context.plan_digest,
        MetadataKey.ATTEMPT.value: str(context.attempt),
        # A record that was carried over twice names the one that was measured.
        MetadataKey.STANDS_FROM.value: record.meta(MetadataKey.STANDS_FROM) or origin,
    }
    return msgspec.structs.replace(
        record,
        id=identifier.hex,
        scenario=msgspec.structs.replace(record.scenario, id=scenario),
        metadata=metadata,
    )


def cell_result(record: EvidenceRecord) -> CellResult:
    """Return what conclusions need of a record that aprqa wrote.

    Raises:
        KeyError: the record names no scenario; a foreign tool wrote it.
    """
    return CellResult(
        scenario=record.metadata[MetadataKey.SCENARIO],
        gate_id=record.gate_id,
        outcome=record.outcome,
        kind=_KINDS.get(record.meta(MetadataKey.KIND) or "", ""),
        crashed=record.outcome is Outcome.CRASHED,
        cause=record.meta(MetadataKey.CAUSE) or "",
        tokens_per_second=record.metrics.tokens_per_second,
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
