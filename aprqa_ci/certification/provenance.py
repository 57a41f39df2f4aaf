"""When a row may say ``provenance_verified``: the one place that decides it."""

from collections.abc import Iterator
from dataclasses import dataclass

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.chain import Link
from aprqa_ci.certification.verifying import Verification

__all__ = ["ProvenanceResult", "VerifiedAttestation", "provenance_of"]

_NEEDED = (
    Link.PLAN,
    Link.RECORDS,
    Link.EVIDENCE,
    Link.CERTIFICATE,
    Link.REGISTRY,
    Link.COMMIT,
)
"""What must have been checked and hold. Shards are not among them, for a run on one machine has
none, nor are the model's files, which the attestation names by digest; a broken link of any kind
bars it all the same."""


@dataclass(frozen=True, kw_only=True)
class VerifiedAttestation:
    """What a signed statement says; made by whoever has verified the signature, and only then."""

    signer: str
    """The identity behind the signature: the workflow, for people."""
    digests: frozenset[str]
    """Every SHA-256 that the statement names, in hexadecimal digits: of its subjects, which are
    model files, and of what the test was configured with and gave."""


@dataclass(frozen=True, kw_only=True)
class ProvenanceResult:
    """Whether it is shown where a certification comes from."""

    verified: bool
    missing: tuple[str, ...]
    """What is not shown, a sentence each; empty when verified."""


def provenance_of(
    bundle: Bundle, verification: Verification, attestation: VerifiedAttestation | None
) -> ProvenanceResult:
    """Decide whether the provenance of a certification is verified. Pure.

    Args:
        bundle: the certification.
        verification: what came of checking it, its row and the row's commit included.
        attestation: the statement about it whose signature holds; absent where there is none.
    """
    missing = tuple(_missing(bundle, verification, attestation))
    return ProvenanceResult(verified=not missing, missing=missing)


def _missing(
    bundle: Bundle, verification: Verification, attestation: VerifiedAttestation | None
) -> Iterator[str]:
    for broken in verification.broken:
        yield f"{broken.link} does not hold: {broken.what}"
    told = {each.link for each in verification.broken}
    for link in _NEEDED:
        if link not in verification.held and link not in told:
            yield f"{link} was not checked"
    files = [
        digest for names in bundle.certificate.model.files.values() for digest in names.values()
    ]
    if not files:
        yield "the certificate names no file of the model"
    if attestation is None:
        yield "there is no attestation whose signature was verified"
        return
    if bundle.certificate.evidence_digest not in attestation.digests:
        yield "the attestation does not name this evidence"
    if not attestation.digests.issuperset(files):
        yield "the attestation does not name all files of the model"
