"""The evidence below a directory, in whatever state: bundles, and files of the existing tool."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import CERTIFICATE_NAME, DIGEST_NAME, EVIDENCE_NAME, Bundle
from aprqa_ci.certification.verifying import Verification, verify_bundle
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.files import read_bounded
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import load_policy, policy_names
from aprqa_ci.scoring.runs import newest_run, time_span
from aprqa_ci.scoring.score import Score
from aprqa_ci.wire import read_wire

__all__ = ["FoundEvidence", "evidence_below"]

_OWN_TOOL = "aprqa-ci/"
_FOREIGN_POLICY = "apr-qa-0"
_MAX_DIGEST_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class FoundEvidence:
    """One directory with evidence, and what can be said of it."""

    directory: Path
    model: str | None = None
    """The repository of the model; absent where nothing readable names one."""
    finished: str = ""
    """The time of the newest record, RFC 3339; empty without one."""
    faults: tuple[tuple[str, str], ...] = ()
    """What is wrong with it by itself: a kind and a sentence each."""
    outdated: tuple[str, ...] = ()
    """Why this version may judge otherwise than the one that made it."""
    certificate: Certificate | None = None
    """Absent for evidence of other tools."""
    bundle: Bundle | None = None
    """Present when the evidence is here and can be scored."""
    verification: Verification | None = None
    score: Score | None = None
    """Of evidence without a certificate: by the formula of the existing tool."""

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.directory.name

    @property
    def update(self) -> RowUpdate | None:
        """What the certificate says of the row; nothing when it says nothing of the model."""
        return None if self.certificate is None else update_from_certificate(self.certificate)

    @property
    def says_something(self) -> bool:
        """Whether it says anything about its model."""
        return self.update is not None or (self.score is not None and bool(self.finished))

    @property
    def holds(self) -> bool:
        """Whether it is a bundle of which all holds that can be checked."""
        return self.verification is not None and self.verification.holds


def evidence_below(root: Path) -> tuple[FoundEvidence, ...]:
    """Return all evidence below a directory, by path; nothing in it is too damaged to be named."""
    names = (EVIDENCE_NAME, CERTIFICATE_NAME, DIGEST_NAME)
    directories = {path.parent for name in names for path in root.rglob(name)}
    return tuple(_found(each) for each in sorted(directories))


def _found(directory: Path) -> FoundEvidence:
    if not (directory / CERTIFICATE_NAME).exists():
        return _foreign(directory)
    if not (directory / EVIDENCE_NAME).exists() and (directory / DIGEST_NAME).exists():
        return _elsewhere(directory)
    try:
        verification, bundle = verify_bundle(directory)
        certificate = read_wire(directory / CERTIFICATE_NAME, Certificate)
    except InputError as error:
        return _unreadable(directory, error)
    faults = []
    if verification.broken:
        more = len(verification.broken) - 1
        told = f" (and {more} more: aprqa verify {directory} --json)" if more else ""
        faults.append(("evidence-does-not-hold", f"{verification.broken[0]}{told}"))
    return FoundEvidence(
        directory=directory,
        model=certificate.model.hf_repo,
        finished=certificate.finished or "",
        faults=tuple(faults),
        outdated=tuple(_outdated(certificate)),
        certificate=certificate,
        bundle=bundle,
        verification=verification,
    )


def _foreign(directory: Path) -> FoundEvidence:
    """Take evidence without a certificate, of another tool or of a run that was not finished."""
    try:
        records = read_evidence(directory / EVIDENCE_NAME)
    except InputError as error:
        return _unreadable(directory, error)
    score = score_evidence(records, plan=None, playbook=None, policy=load_policy(_FOREIGN_POLICY))
    span = time_span(newest_run(records))
    versions = {record.host.apr_version for record in records}
    faults = []
    if not records:
        faults.append(("evidence-without-records", "there is no record in it"))
    if "unknown" in versions or "" in versions:
        faults.append(("stale-tool", "records do not say which version of the tool made them"))
    own = {each.removeprefix(_OWN_TOOL) for each in versions if each.startswith(_OWN_TOOL)}
    return FoundEvidence(
        directory=directory,
        model=score.model_id if records else None,
        finished=span[1] if span else "",
        faults=tuple(faults),
        outdated=tuple(_other_release(each) for each in sorted(own) if not _judges_alike(each)),
        score=score,
    )


def _elsewhere(directory: Path) -> FoundEvidence:
    """Take a certificate whose evidence is too large for the repository: its digest is here."""
    try:
        certificate = read_wire(directory / CERTIFICATE_NAME, Certificate)
        text = read_bounded(directory / DIGEST_NAME, _MAX_DIGEST_BYTES)
    except InputError as error:
        return _unreadable(directory, error)
    faults = []
    if text.split()[:1] != [certificate.evidence_digest.encode()]:
        what = f"{DIGEST_NAME} is not the digest that the certificate names"
        faults.append(("evidence-does-not-hold", what))
    return FoundEvidence(
        directory=directory,
        model=certificate.model.hf_repo,
        finished=certificate.finished or "",
        faults=tuple(faults),
        outdated=tuple(_outdated(certificate)),
        certificate=certificate,
    )


def _unreadable(directory: Path, error: InputError) -> FoundEvidence:
    more = len(error.problems) - 1
    told = f" (and {more} more)" if more else ""
    return FoundEvidence(
        directory=directory, faults=(("unreadable-evidence", f"{error.problems[0]}{told}"),)
    )


def _outdated(certificate: Certificate) -> Iterator[str]:
    if not _judges_alike(certificate.tool_version):
        yield _other_release(certificate.tool_version)
    policy = certificate.policy
    known = load_policy(policy.id).version if policy.id in policy_names() else None
    if known is None:
        yield f"judged by the policy {policy.id}, which aprqa {__version__} does not know"
    elif known != policy.version:
        yield f"judged by {policy.id} version {policy.version}; this judges by version {known}"


def _other_release(version: str) -> str:
    return f"made by aprqa {version}; this is {__version__}"


def _judges_alike(version: str) -> bool:
    """Whether Semantic Versioning knows of no breaking change between that version and this."""
    return _release_line(version) == _release_line(__version__)


def _release_line(version: str) -> list[str]:
    major, *rest = version.split(".")
    return [major, *rest[:1]] if major == "0" else [major]
