"""Records of the gates that a playbook defines, for readers of the evidence."""

from collections.abc import Sequence

from aprqa_ci.evidence.record import (
    EvidenceMetrics,
    EvidenceRecord,
    EvidenceScenario,
    MetadataKey,
)
from aprqa_ci.files import sha256_bytes
from aprqa_ci.planning.plan import PlannedCell, PlannedGate
from aprqa_ci.vocabulary import Outcome

__all__ = ["own_gate_record"]


def own_gate_record(
    gate: PlannedGate,
    *,
    cell: PlannedCell,
    outcome: Outcome,
    reason: str,
    cause: str,
    run: Sequence[EvidenceRecord],
) -> EvidenceRecord:
    """Return the record of a gate's verdict. Pure: the same run gives the same record.

    Args:
        gate: the gate.
        cell: a cell of the run; the format of evidence has no record that is of no cell.
        outcome: what came of the gate.
        reason: why.
        cause: of a skip, whose doing it was.
        run: the records that the verdict was made of, the newest last; at least one.
    """
    last = run[-1]
    run_id = last.meta(MetadataKey.RUN_ID) or ""
    metadata = {
        MetadataKey.RUN_ID: run_id,
        MetadataKey.SCENARIO: gate.scenario,
        MetadataKey.PLAN: last.meta(MetadataKey.PLAN) or "",
        MetadataKey.CAUSE: cause,
    }
    return EvidenceRecord(
        id=sha256_bytes(f"{run_id}\0{gate.scenario}".encode())[:32],
        gate_id=gate.gate_id,
        scenario=EvidenceScenario(
            id=gate.scenario,
            model=last.scenario.model,
            modality=cell.modality,
            backend=cell.backend,
            format=cell.format,
            prompt=gate.condition,
            temperature=0.0,
            max_tokens=0,
            seed=0,
            oracle_type="condition",
        ),
        outcome=outcome,
        reason=reason,
        output="",
        metrics=EvidenceMetrics(),
        timestamp=last.timestamp,
        host=last.host,
        metadata={str(key): value for key, value in metadata.items() if value},
    )
