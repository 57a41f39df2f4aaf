"""What every report is made from: one certificate, its score, and the records behind both."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.gates import Gate, gate_catalogue
from aprqa_ci.plain_text import one_line
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.scoring.score import ScenarioScore, Score

__all__ = ["ReportedScenario", "RunReport", "reported_scenarios", "run_report"]

_MAX_NAME = 200


class ReportedScenario(Struct, frozen=True, kw_only=True, gc=False):
    """One scenario with the record that decided it."""

    name: str
    """The scenario's id on one line; where evidence uses one twice, made unique."""
    score: ScenarioScore
    record: EvidenceRecord | None
    """The record whose outcome counts; absent when the scenario is missing."""

    @property
    def gate(self) -> Gate | None:
        """The gate it counts for; absent for a gate that is in no catalogue."""
        if (own := self.score.own_gate) is not None:
            return Gate(
                id=own.gate_id,
                category=own.category,
                severity=own.severity,
                made_by="derived",
                meaning=own.description,
                remedy=f"The playbook's condition {own.condition}",
            )
        return gate_catalogue().get(self.score.gate_id)

    @property
    def is_failure(self) -> bool:
        """Whether it speaks against the model."""
        return self.score.outcome is not None and self.score.outcome.is_failure


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """One run of one playbook, ready to be reported; made by ``run_report``."""

    certificate: Certificate
    score: Score
    scenarios: tuple[ReportedScenario, ...]
    """In plan order."""


def run_report(
    certificate: Certificate, score: Score, records: Sequence[EvidenceRecord]
) -> RunReport:
    """Put together what is reported.

    Args:
        certificate: the certificate.
        score: the score of ``records``, computed again under the certificate's plan and policy.
        records: the evidence.

    Raises:
        InputError: certificate and score do not say the same, so that one report would contradict
            another. Every difference is named.
    """
    if problems := list(_contradictions(certificate, score)):
        raise InputError(problems)
    return RunReport(
        certificate=certificate, score=score, scenarios=reported_scenarios(score, records)
    )


def reported_scenarios(
    score: Score, records: Sequence[EvidenceRecord]
) -> tuple[ReportedScenario, ...]:
    """Return the scenarios of a score, each with the record that decided it, in plan order.

    Args:
        score: the score of ``records``.
        records: the evidence.
    """
    by_id: dict[str, list[EvidenceRecord]] = {}
    for record in records:
        if record.id in by_id:
            by_id[record.id].append(record)
        else:
            by_id[record.id] = [record]
    return tuple(
        ReportedScenario(
            name=name,
            score=entry,
            record=_deciding(
                entry, [record for name in entry.records for record in by_id.get(name, ())]
            ),
        )
        for name, entry in zip(_unique_names(score.scenarios), score.scenarios, strict=True)
    )


def _contradictions(certificate: Certificate, score: Score) -> Iterator[Problem]:
    pairs = {
        "model": (certificate.model.hf_repo, score.model_id),
        "playbook": (certificate.playbook.name, score.playbook),
        "plan": (certificate.plan_digest, score.plan_digest),
        "policy": (certificate.policy.id, score.policy),
        "run": (certificate.run_id, score.run_id),
        "MQS": (certificate.mqs, score.mqs),
        "grade": (certificate.grade, score.grade),
        "status": (certificate.status.value, score.status.value),
    }
    for name, (claimed, computed) in pairs.items():
        if claimed != computed:
            yield Problem(
                what=f"the certificate's {name} is {claimed!r}, the evidence gives {computed!r}",
                hint="score the evidence again, or find out which of the two was changed",
            )


def _deciding(entry: ScenarioScore, records: Sequence[EvidenceRecord]) -> EvidenceRecord | None:
    deciding = [record for record in records if record.outcome is entry.outcome]
    return deciding[-1] if deciding else None


def _unique_names(entries: Sequence[ScenarioScore]) -> Iterator[str]:
    plain = [one_line(entry.scenario[:_MAX_NAME]) for entry in entries]
    if len(set(plain)) == len(plain):
        yield from plain
        return
    times = Counter(plain)
    used: set[str] = set()
    for entry, name in zip(entries, plain, strict=True):
        gate = f" {one_line(entry.gate_id[:_MAX_NAME])}" if times[name] > 1 else ""
        unique, number = f"{name}{gate}", 1
        while unique in used:
            number += 1
            unique = f"{name}{gate} ({number})"
        used.add(unique)
        yield unique
