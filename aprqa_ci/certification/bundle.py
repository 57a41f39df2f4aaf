"""The bundle: the directory of one playbook's certification, and all that it claims.

``certifications/<playbook>/`` holds ``plan.json``, ``evidence.json`` and ``certificate.json``, and
the reports made of them. Reading a bundle scores its evidence again: a certificate that its own
evidence does not give is an error, whoever wrote it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from aprqa_ci import __version__
from aprqa_ci.certification.chain import BrokenLink, Link
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.own_gates import own_gate_record
from aprqa_ci.evidence.reading import parse_evidence, write_evidence
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.evidence.shard_list import SHARDS_NAME, ShardList
from aprqa_ci.files import read_bounded, sha256_bytes, write_atomic
from aprqa_ci.planning import plan_file
from aprqa_ci.planning.baseline import Baseline
from aprqa_ci.planning.plan import Plan
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
    "DIGEST_NAME",
    "EVIDENCE_NAME",
    "PLAN_NAME",
    "Bundle",
    "BundleFiles",
    "baseline_in",
    "check_files",
    "read_bundle",
    "read_files",
    "read_plan",
    "with_own_gates",
    "write_bundle",
]

PLAN_NAME = "plan.json"
EVIDENCE_NAME = "evidence.json"
DIGEST_NAME = f"{EVIDENCE_NAME}.sha256"
"""What stands in a repository for evidence that is too large for it."""
CERTIFICATE_NAME = "certificate.json"
ACCEPTED_NAME = "accepted-certificate.json"
"""The last certificate that was CERTIFIED: what later runs are compared with."""

_OF_OTHER_LINKS = {
    **dict.fromkeys(("playbook", "plan_digest", "tier", "narrowed", "declared_not_run"), Link.PLAN),
    "shards_digest": Link.SHARDS,
}
"""What of a certificate is copied from other files than the evidence."""

ReadT = TypeVar("ReadT")


@dataclass(frozen=True, kw_only=True)
class BundleFiles:
    """The files of a bundle as they were read; nothing says yet that they agree."""

    directory: Path
    plan: Plan
    certificate: Certificate
    evidence: bytes
    shards: bytes | None
    """The list of shards, of evidence that was merged."""


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
    shards: ShardList | None = None,
) -> Bundle:
    """Score the evidence of one playbook and write its bundle.

    Args:
        directory: where to; it is made.
        plan: the plan of the one playbook.
        records: its evidence, earlier runs included.
        model_digests: SHA-256 by file name, by variant.
        shards: what the evidence was merged of, if it was.

    Raises:
        OSError: the directory cannot be written.
    """
    playbook = plan.playbooks[0].name
    records = with_own_gates(records, plan)
    write_atomic(directory / PLAN_NAME, pretty_json(plan))
    evidence_digest = write_evidence(directory / EVIDENCE_NAME, records)
    shards_digest = _write_shards(directory / SHARDS_NAME, shards)
    score = score_evidence(
        records, plan=plan, playbook=playbook, policy=load_policy(DEFAULT_POLICY)
    )
    certificate = build_certificate(
        score,
        plan,
        playbook,
        records,
        evidence_digest=evidence_digest,
        model_digests=model_digests,
        tool_version=__version__,
        shards_digest=shards_digest,
    )
    encoded = pretty_json(certificate)
    write_atomic(directory / CERTIFICATE_NAME, encoded)
    if certificate.status is Status.CERTIFIED:
        write_atomic(directory / ACCEPTED_NAME, encoded)
    return Bundle(
        directory=directory, plan=plan, records=records, score=score, certificate=certificate
    )


def _write_shards(path: Path, shards: ShardList | None) -> str | None:
    """Write the list of shards and return its digest; without one, the one of before goes."""
    if shards is None:
        path.unlink(missing_ok=True)
        return None
    data = pretty_json(shards)
    write_atomic(path, data)
    return sha256_bytes(data)


def with_own_gates(records: tuple[EvidenceRecord, ...], plan: Plan) -> tuple[EvidenceRecord, ...]:
    """Return the records with one for each gate that the playbook defines. Pure.

    The newest run gets them; scoring makes its own verdict of the same facts.

    Args:
        records: the evidence of the one playbook, earlier runs included.
        plan: its plan.
    """
    own = {gate.scenario for gate in plan.playbooks[0].own_gates}
    if not own:
        return records
    run = [record for record in newest_run(records) if record.meta(MetadataKey.SCENARIO) not in own]
    if not run:
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
    bundle, broken = check_files(read_files(directory))
    if broken or bundle is None:
        raise InputError(each.problem for each in broken)
    return bundle


def read_files(directory: Path) -> BundleFiles:
    """Read the files of a bundle as they are.

    Raises:
        InputError: one is missing or unreadable; all of them are named.
    """
    problems: list[Problem] = []

    def read(name: str, reader: Callable[[Path], ReadT]) -> ReadT | None:
        try:
            return reader(directory / name)
        except InputError as error:
            problems.extend(error.problems)
            return None

    plan = read(PLAN_NAME, read_plan)
    certificate = read(CERTIFICATE_NAME, lambda path: read_wire(path, Certificate))
    evidence = read(EVIDENCE_NAME, _read_evidence)
    shards = None
    if (directory / SHARDS_NAME).exists():
        shards = read(SHARDS_NAME, lambda path: read_bounded(path, MAX_WIRE_BYTES))
    if problems or plan is None or certificate is None or evidence is None:
        raise InputError(problems)
    return BundleFiles(
        directory=directory, plan=plan, certificate=certificate, evidence=evidence, shards=shards
    )


def _read_evidence(path: Path) -> bytes:
    if not path.exists() and path.with_name(DIGEST_NAME).exists():
        hint = "it was too large for the repository: take it from the run that certified"
        raise InputError(Problem(what="only the digest is here", path=path, hint=hint))
    return read_bounded(path, MAX_WIRE_BYTES)


def check_files(files: BundleFiles) -> tuple[Bundle | None, tuple[BrokenLink, ...]]:
    """Hold the certificate of a bundle against its evidence and its plan.

    Nothing is read. The evidence is scored again even where it is not the one that the certificate
    names, so that what a change comes to is seen.

    Returns:
        The bundle, nothing where the evidence cannot be scored; and what does not hold, which is
        never nothing then.
    """
    broken: list[BrokenLink] = []
    certificate, path = files.certificate, files.directory / EVIDENCE_NAME
    digest = sha256_bytes(files.evidence)
    if digest != certificate.evidence_digest:
        what = (
            f"the evidence is not what the certificate was made of (SHA-256 {digest[:12]}…, "
            f"certificate says {certificate.evidence_digest[:12]}…)"
        )
        problem = Problem(what=what, path=path, hint="one of the two was changed")
        broken.append(BrokenLink.of(Link.EVIDENCE, problem))
    bundle = None
    try:
        records = parse_evidence(files.evidence, source=path)
    except InputError as error:
        broken += [BrokenLink.of(Link.EVIDENCE, each) for each in error.problems]
        return None, tuple(broken)
    try:
        bundle = _scored(files, records)
        broken += _differences(
            certificate,
            build_certificate(
                bundle.score,
                files.plan,
                certificate.playbook.name,
                records,
                evidence_digest=certificate.evidence_digest,
                model_digests=certificate.model.files,
                tool_version=certificate.tool_version,
                shards_digest=None if files.shards is None else sha256_bytes(files.shards),
            ),
            files.directory / CERTIFICATE_NAME,
        )
        _ = bundle.report  # raises when certificate and score contradict one another
    except InputError as error:
        broken += [BrokenLink.of(Link.CERTIFICATE, each) for each in error.problems]
    return bundle, tuple(broken)


def _scored(files: BundleFiles, records: tuple[EvidenceRecord, ...]) -> Bundle:
    certificate = files.certificate
    score = score_evidence(
        records,
        plan=files.plan,
        playbook=certificate.playbook.name,
        policy=load_policy(certificate.policy.id),
    )
    return Bundle(
        directory=files.directory,
        plan=files.plan,
        records=records,
        score=score,
        certificate=certificate,
    )


def _differences(claimed: Certificate, computed: Certificate, path: Path) -> Iterator[BrokenLink]:
    """Yield what a certificate says otherwise than what was computed again."""
    for field in msgspec.structs.fields(Certificate):
        if getattr(claimed, field.name) != getattr(computed, field.name):
            yield BrokenLink(
                link=_OF_OTHER_LINKS.get(field.name, Link.CERTIFICATE),
                what=f"`{field.name}` is not what plan and evidence give",
                path=str(path),
                hint="score the evidence again, or find out what was changed",
            )


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        InputError: the file is missing, unreadable or not a plan.
    """
    return plan_file.read_plan(path)


def baseline_in(directory: Path) -> Baseline | None:
    """Return the baseline that a playbook's directory holds, if it was ever certified.

    Raises:
        InputError: the accepted certificate is unreadable.
    """
    path = directory / ACCEPTED_NAME
    if not path.exists():
        return None
    return baseline_from(read_wire(path, Certificate))
