"""The five gateways: what the evidence says of each, with the records that say it."""

from collections.abc import Sequence

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.scoring.ledger import Ledger
from aprqa_ci.scoring.score import GatewayResult, ScenarioScore
from aprqa_ci.scoring.wording import brief, counted, named
from aprqa_ci.vocabulary import Gateway, GatewayState, Outcome

__all__ = ["evaluate_gateways"]


def evaluate_gateways(ledger: Ledger) -> dict[Gateway, GatewayResult]:
    """Return the state of every gateway, G0 to G4.

    - *failed*: some record of one of its gates is a failure, strays and repeated attempts included;
      and for G3, any record at all is Crashed.
    - *passed*: every cell of the plan has planned records of it and all of them are Corroborated.
      Without a plan: some record of it is Corroborated.
    - *not evaluated*: the playbook switches it off, and anything else. A skipped or missing
      record never passes.
    """
    failures = [record for record in ledger.records if record.outcome.is_failure]
    return {gateway: _evaluate(gateway, ledger, failures) for gateway in Gateway}


def _evaluate(
    gateway: Gateway, ledger: Ledger, every_failure: Sequence[EvidenceRecord]
) -> GatewayResult:
    failures = [record for record in every_failure if _is_of(record, gateway)]
    if failures:
        return GatewayResult(
            gateway=gateway,
            state=GatewayState.FAILED,
            reasons=tuple(
                f"{record.gate_id} {record.outcome}: {brief(record.reason)}" for record in failures
            ),
            records=tuple(record.id for record in failures),
        )
    entries = ledger.by_gateway(gateway)
    if gateway in ledger.gateways_off:
        return GatewayResult(
            gateway=gateway,
            state=GatewayState.NOT_EVALUATED,
            reasons=("the playbook switches it off, so no run of it can pass it",),
            records=tuple(record for entry in entries for record in entry.records),
        )
    shown = [entry for entry in entries if entry.outcome is Outcome.CORROBORATED]
    gaps = _gaps(gateway, ledger, entries) if ledger.cells is not None else ()
    behind = tuple(record for entry in entries for record in entry.records)
    if gaps or not shown:
        nothing = f"no record shows {gateway}" if entries else f"no record speaks of {gateway}"
        return GatewayResult(
            gateway=gateway,
            state=GatewayState.NOT_EVALUATED,
            reasons=tuple(gaps) or (nothing,),
            records=behind,
        )
    return GatewayResult(
        gateway=gateway,
        state=GatewayState.PASSED,
        reasons=(f"{counted(len(shown), 'scenario')} corroborated",),
        records=behind,
    )


def _is_of(failure: EvidenceRecord, gateway: Gateway) -> bool:
    if gateway is Gateway.G3 and failure.outcome is Outcome.CRASHED:
        return True
    gate = gate_catalogue().get(failure.gate_id)
    return gate is not None and gate.gateway is gateway


def _gaps(gateway: Gateway, ledger: Ledger, entries: Sequence[ScenarioScore]) -> tuple[str, ...]:
    """Return what keeps the gateway from being shown in every cell, a sentence each."""
    covered = {entry.cell for entry in entries}
    bare = [cell.id for cell in ledger.cells or () if cell.id not in covered]
    gaps = [f"the plan has nothing that shows {gateway} in {named(bare)}"] if bare else []
    gaps += [
        f"{entry.scenario} {entry.outcome_text}: {entry.cause or entry.reason}"
        for entry in entries
        if entry.outcome is not Outcome.CORROBORATED
    ]
    return tuple(gaps)
