"""``report.json``: the certificate and every scenario's outcome, for programs."""

from typing import Literal

from aprqa_ci.evidence.record import EvidenceMetrics
from aprqa_ci.reports.run_report import ReportedScenario, RunReport
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.wire import WireModel, digest_of, pretty_json

__all__ = ["REPORT_SCHEMA", "JsonReport", "JsonScenario", "json_report", "render_json"]

REPORT_SCHEMA = "aprqa-report/1"


class JsonScenario(WireModel, frozen=True, kw_only=True):
    """What became of one scenario; the answer itself is in the evidence."""

    name: str
    """The scenario's id on one line, unique in the report."""
    scenario: str
    """The planned scenario's id."""
    cell: str
    gate_id: str
    counts_for: str | None
    """The gateway or category; absent for a gate that is in no catalogue."""
    outcome: str
    """One of the five outcomes, or ``missing``."""
    earned: bool
    """Whether it earned its points."""
    reason: str
    cause: str
    """Of a skip: whose doing it was."""
    records: tuple[str, ...]
    """The ids of the evidence records behind it."""
    duration_ms: int | None
    tokens_per_second: float | None
    time_to_first_token_ms: float | None


class JsonReport(WireModel, frozen=True, kw_only=True):
    """The whole file."""

    schema: Literal["aprqa-report/1"] = "aprqa-report/1"
    certificate_digest: str
    """SHA-256 of the certificate's canonical JSON."""
    certificate: Certificate
    scenarios: tuple[JsonScenario, ...]
    """In plan order."""


def json_report(report: RunReport) -> JsonReport:
    """Return the report as a wire model."""
    return JsonReport(
        certificate_digest=digest_of(report.certificate),
        certificate=report.certificate,
        scenarios=tuple(_scenario(entry) for entry in report.scenarios),
    )


def render_json(report: RunReport) -> bytes:
    """Return the bytes of ``report.json``."""
    return pretty_json(json_report(report))


def _scenario(entry: ReportedScenario) -> JsonScenario:
    score, record, gate = entry.score, entry.record, entry.gate
    metrics = EvidenceMetrics() if record is None else record.metrics
    return JsonScenario(
        name=entry.name,
        scenario=score.scenario,
        cell=score.cell,
        gate_id=score.gate_id,
        counts_for=None if gate is None else gate.counts_for,
        outcome=score.outcome_text,
        earned=score.earned,
        reason=score.reason,
        cause=score.cause,
        records=score.records,
        duration_ms=None if record is None else metrics.duration_ms,
        tokens_per_second=metrics.tokens_per_second,
        time_to_first_token_ms=metrics.time_to_first_token_ms,
    )
