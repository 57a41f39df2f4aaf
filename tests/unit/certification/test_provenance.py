from dataclasses import replace

import pytest

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.chain import BrokenLink, Link
from aprqa_ci.certification.provenance import VerifiedAttestation, provenance_of
from aprqa_ci.certification.verifying import Verification, verify_bundle

FILE = "a" * 64


def checked(certified: Bundle) -> Verification:
    """The bundle's own verification, with the row and its commit."""
    found, _ = verify_bundle(certified.directory)
    held = (*found.held, Link.CERTIFICATE, Link.REGISTRY, Link.COMMIT)
    return replace(found, held=held, unchecked=())


def attestation(certified: Bundle, *, without: str = "") -> VerifiedAttestation:
    digests = {FILE, certified.certificate.evidence_digest} - {without}
    return VerifiedAttestation(signer="attest.yml", digests=frozenset(digests))


def test_all_of_it_together_is_provenance(certified: Bundle) -> None:
    result = provenance_of(certified, checked(certified), attestation(certified))
    assert (result.verified, result.missing) == (True, ())


@pytest.mark.parametrize(
    "link",
    [Link.PLAN, Link.RECORDS, Link.EVIDENCE, Link.CERTIFICATE, Link.REGISTRY, Link.COMMIT],
)
def test_a_link_that_was_not_checked_is_missing(certified: Bundle, link: Link) -> None:
    whole = checked(certified)
    part = replace(whole, held=tuple(each for each in whole.held if each is not link))
    result = provenance_of(certified, part, attestation(certified))
    assert (result.verified, result.missing) == (False, (f"{link} was not checked",))


@pytest.mark.parametrize("link", list(Link))
def test_a_broken_link_of_any_kind_bars_it(certified: Bundle, link: Link) -> None:
    whole = checked(certified)
    broken = BrokenLink(link=link, what="it is not so", path="x")
    held = tuple(each for each in whole.held if each is not link)
    result = provenance_of(
        certified, replace(whole, broken=(broken,), held=held), attestation(certified)
    )
    assert result.missing == (f"{link} does not hold: it is not so",)


def test_an_attestation_must_name_the_evidence_and_every_file(certified: Bundle) -> None:
    whole, digest = checked(certified), certified.certificate.evidence_digest
    for without, why in ((digest, "this evidence"), (FILE, "all files of the model")):
        result = provenance_of(certified, whole, attestation(certified, without=without))
        assert result.missing == (f"the attestation does not name {why}",)
    assert not provenance_of(certified, whole, None).verified
