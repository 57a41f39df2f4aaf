"""Triage: from failed gateways to recorded facts, likely causes and the next command."""

from collections.abc import Sequence
from dataclasses import dataclass

from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.plain_text import one_line, shorten
from aprqa_ci.reports.causes import RootCause, gateway_advice, root_causes
from aprqa_ci.reports.run_report import ReportedScenario
from aprqa_ci.scoring.score import Score
from aprqa_ci.scoring.status import not_tested
from aprqa_ci.vocabulary import Gateway, GatewayState

__all__ = ["CauseTriage", "GatewayTriage", "Quote", "Triage", "triage_of"]

_MOST_QUOTES = 3
_QUOTE = 400


@dataclass(frozen=True, kw_only=True)
class Quote:
    """What one record says, word for word but for control characters and its length."""

    scenario: str
    record: str
    """The id of the record."""
    outcome: str
    reason: str
    exit_code: int | None
    log: str
    """The end of the engine's log, on one line; empty when there is none."""
    answer: str
    """The beginning of the answer, on one line; empty when there is none."""
    invocation: str
    """The call that the answer came from; empty where none is recorded."""


@dataclass(frozen=True, kw_only=True)
class CauseTriage:
    """One root cause."""

    id: str
    title: str
    gateway: Gateway | None
    gates: tuple[str, ...]
    cells: tuple[str, ...]
    failures: int
    quotes: tuple[Quote, ...]
    likely: str
    """What the catalogue of causes says; empty where it knows none like it."""
    next: str
    """The next command; empty likewise."""


@dataclass(frozen=True, kw_only=True)
class GatewayTriage:
    """One gateway that is not passed."""

    gateway: Gateway
    state: GatewayState
    reasons: tuple[str, ...]
    likely: tuple[str, ...]
    """Empty for a gateway that was not evaluated: nothing failed there."""
    next: str


@dataclass(frozen=True, kw_only=True)
class Triage:
    """What is wrong with one run, and where to begin."""

    playbook: str
    model: str
    status: str
    mqs: int
    gateways: tuple[GatewayTriage, ...]
    causes: tuple[CauseTriage, ...]
    not_tested: tuple[str, ...]
    """What the run says nothing of, and why, a sentence each."""


def triage_of(
    score: Score, scenarios: Sequence[ReportedScenario], *, playbook_path: str | None
) -> Triage:
    """Return the triage of one scored run. Pure.

    Args:
        score: of the run.
        scenarios: its scenarios with their records.
        playbook_path: where the playbook is, for commands to be copied, if that is known.
    """
    playbook = playbook_path or "PLAYBOOK"
    causes = root_causes(scenarios)
    return Triage(
        playbook=score.playbook or "",
        model=score.model_id,
        status=str(score.status),
        mqs=score.mqs,
        gateways=tuple(
            _gateway(entry.gateway, entry.state, entry.reasons, causes, playbook)
            for entry in score.gateways.values()
            if entry.state is not GatewayState.PASSED
        ),
        causes=tuple(_cause(cause, playbook) for cause in causes),
        not_tested=not_tested(score),
    )


def _gateway(
    gateway: Gateway,
    state: GatewayState,
    reasons: tuple[str, ...],
    causes: Sequence[RootCause],
    playbook: str,
) -> GatewayTriage:
    failed = state is GatewayState.FAILED
    advice = gateway_advice(gateway)
    own = [
        failure
        for cause in causes
        for failure in cause.failures
        if failure.score.gateway is gateway
    ]
    return GatewayTriage(
        gateway=gateway,
        state=state,
        reasons=reasons,
        likely=advice.likely if failed else (),
        next=_command(advice.next, own, playbook) if failed else "",
    )


def _cause(cause: RootCause, playbook: str) -> CauseTriage:
    known = cause.known
    return CauseTriage(
        id=cause.id,
        title=cause.title,
        gateway=cause.gateway,
        gates=cause.gates,
        cells=cause.cells,
        failures=len(cause.failures),
        quotes=tuple(_quote(each) for each in cause.failures[:_MOST_QUOTES]),
        likely="" if known is None else known.likely,
        next="" if known is None else _command(known.next, cause.failures, playbook),
    )


def _quote(failure: ReportedScenario) -> Quote:
    record = failure.record
    return Quote(
        scenario=failure.name,
        record="" if record is None else record.id,
        outcome=failure.score.outcome_text,
        reason=shorten(one_line(failure.score.reason), _QUOTE),
        exit_code=None if record is None else record.exit_code,
        log="" if record is None else one_line((record.stderr or "")[-_QUOTE:]),
        answer="" if record is None else shorten(one_line(record.output[:_QUOTE]), _QUOTE),
        invocation="" if record is None else (record.meta(MetadataKey.INVOCATION) or ""),
    )


def _command(template: str, failures: Sequence[ReportedScenario], playbook: str) -> str:
    cell = failures[0].score.cell if failures else "*"
    if ":" not in cell:
        cell = f"*:{cell}"  # a cell of the existing tool's evidence is not named by its playbook
    gate = failures[0].score.gate_id if failures else ""
    filled = template.replace("{playbook}", playbook).replace("{cell}", cell)
    return one_line(filled.replace("GATE", gate) if gate else filled)
