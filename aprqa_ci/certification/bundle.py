"""The bundle: the directory of one playbook's certification, and all that it claims.

``certifications/<playbook>/`` holds ``plan.json``, ``evidence.json`` and ``certificate.json``, and
the reports made of them. Reading a bundle scores its evidence again: a certificate that its own
evidence does not give is an error, whoever wrote it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from aprqa_ci import __version__
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.own_gates import own_gate_record
from aprqa_ci.evidence.reading import parse_evidence, write_evidence
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.files import read_bounded, sha256_bytes, write_atomic
from aprqa_ci.planning.plan import Baseline, Plan
from aprqa_ci.reports.run_report import RunReport, run_report
from aprqa_ci.scoring.certificate import Certificate, baseline_from, build_certificate
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.ledger import planned_ledger
from aprqa_ci.scoring.policies import DEFAULT_POLICY, load_policy
from aprqa_ci.scoring.runs import newest_run
from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import MAX_WIRE_BYTES, pretty_json, read_wire

__all__ = [
    "ACCEPTED_NAME",
    "CERTIFICATE_NAME",
    "EVIDENCE_NAME",
    "PLAN_NAME",
    "Bundle",
    "baseline_in",
    "read_bundle",
    "read_plan",
    "with_own_gates",
    "write_bundle",
]

PLAN_NAME = "plan.json"
EVIDENCE_NAME = "evidence.json"
CERTIFICATE_NAME = "certificate.json"
ACCEPTED_NAME = "accepted-certificate.json"
"""The last certificate that was CERTIFIED: what later runs are compared with."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """One playbook's certification, complete and consistent."""

    directory: Path
    plan: Plan
    records: tuple[EvidenceRecord, ...]
    score: Score
    certificate: Certificate

    @property
    def report(self) -> RunReport:
        """What the reports are made of."""
        return run_report(self.certificate, self.score, self.records)


def write_bundle(
    directory: Path,
    plan: Plan,
    records: tuple[EvidenceRecord, ...],
    *,
    model_digests: Mapping[str, Mapping[str, str]],
) -> Bundle:
    """Score the evidence of one playbook and write its bundle.

    Args:
        directory: where to; it is made.
        plan: the plan of the one playbook.
        records: its evidence, earlier runs included.
        model_digests: SHA-256 by file name, by variant.

    Raises:
        OSError: the directory cannot be written.
    """
    playbook = plan.playbooks[0].name
    records = with_own_gates(records, plan)
    write_atomic(directory / PLAN_NAME, pretty_json(plan))
    data = write_evidence(directory / EVIDENCE_NAME, records)
    score = score_evidence(
        records, plan=plan, playbook=playbook, policy=load_policy(DEFAULT_POLICY)
    )
    certificate = build_certificate(
        score,
        plan,
        playbook,
        records,
        evidence_digest=sha256_bytes(data),
        model_digests=model_digests,
        tool_version=__version__,
    )
    encoded = pretty_json(certificate)
    write_atomic(directory / CERTIFICATE_NAME, encoded)
    if certificate.status is Status.CERTIFIED:
        write_atomic(directory / ACCEPTED_NAME, encoded)
    return Bundle(
        directory=directory, plan=plan, records=records, score=score, certificate=certificate
    )


def with_own_gates(records: tuple[EvidenceRecord, ...], plan: Plan) -> tuple[EvidenceRecord, ...]:
    """Return the records with one for each gate that the playbook defines. Pure.

    The newest run gets them; scoring makes its own verdict of the same facts.

    Args:
        records: the evidence of the one playbook, earlier runs included.
        plan: its plan.
    """
    own = {gate.scenario for gate in plan.playbooks[0].own_gates}
    run = [record for record in newest_run(records) if record.meta(MetadataKey.SCENARIO) not in own]
    if not own or not run:
        return records
    ledger = planned_ledger(run, plan)
    made = tuple(
        own_gate_record(
            entry.own_gate,
            cell=plan.cells[0],
            outcome=entry.outcome,
            reason=entry.reason,
            cause=entry.cause,
            run=ledger.records,
        )
        for entry in ledger.scenarios
        if entry.own_gate is not None and entry.outcome is not None
    )
    ids = {record.id for record in made}
    return (*(record for record in records if record.id not in ids), *made)


def read_bundle(directory: Path) -> Bundle:
    """Read a bundle and check that its certificate is what its evidence gives.

    Raises:
        InputError: a file is missing or unreadable, or they contradict one another.
    """
    plan = read_plan(directory / PLAN_NAME)
    certificate = read_wire(directory / CERTIFICATE_NAME, Certificate)
    path = directory / EVIDENCE_NAME
    data = read_bounded(path, MAX_WIRE_BYTES)
    digest = sha256_bytes(data)
    if digest != certificate.evidence_digest:
        what = (
            f"the evidence is not what the certificate was made of (SHA-256 {digest[:12]}…, "
            f"certificate says {certificate.evidence_digest[:12]}…)"
        )
        raise InputError(Problem(what=what, path=path, hint="one of the two was changed"))
    records = parse_evidence(data, source=path)
    score = score_evidence(
        records,
        plan=plan,
        playbook=certificate.playbook.name,
        policy=load_policy(certificate.policy.id),
    )
    bundle = Bundle(
        directory=directory, plan=plan, records=records, score=score, certificate=certificate
    )
    _ = bundle.report  # raises when certificate and score contradict one another
    _require_same(
        certificate,
        build_certificate(
            score,
            plan,
            certificate.playbook.name,
            records,
            evidence_digest=digest,
            model_digests=certificate.model.files,
            tool_version=certificate.tool_version,
        ),
        directory / CERTIFICATE_NAME,
    )
    return bundle


def _require_same(claimed: Certificate, computed: Certificate, path: Path) -> None:
    """Refuse a certificate that says anything but what was computed again."""
    fields = (field.name for field in msgspec.structs.fields(Certificate))
    problems = [
        Problem(
            what=f"`{name}` is not what plan and evidence give",
            path=path,
            hint="score the evidence again, or find out what was changed",
        )
        for name in fields
        if getattr(claimed, name) != getattr(computed, name)
    ]
    if problems:
        raise InputError(problems)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, unreadable or not a plan.
    """
    return read_wire(path, Plan)


def baseline_in(directory: Path) -> Baseline | None:
    """Return the baseline that a playbook's directory holds, if it was ever certified.

    Raises:
        InputError: the accepted certificate is unreadable.
    """
    path = directory / ACCEPTED_NAME
    if not path.exists():
        return None
    return baseline_from(read_wire(path, Certificate))
