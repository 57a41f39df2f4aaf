import base64
import copy
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sigstore.errors import TUFError
from sigstore.verify import Verifier

from aprqa_ci.certification.attestation import ExpectedSigner, check_attestation, load_verifier
from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.chain import BrokenLink, Link
from aprqa_ci.certification.provenance import VerifiedAttestation
from aprqa_ci.certification.statement import Statement, statement_bytes, statement_of
from aprqa_ci.errors import InputError
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id
from tests.local_sigstore import LocalSigstore, Signing
from tests.records import NOON

EXPECTED = ExpectedSigner(source="octo/models")
URL = "https://github.com/octo/models/actions/runs/42/attempts/1"
SIGNER = "https://github.com/octo/models/.github/workflows/attest.yml@refs/heads/main"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made_bundle(tmp_path_factory.mktemp("certified") / "tiny-mvp")


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return made_bundle(
        tmp_path_factory.mktemp("blocked") / "tiny-mvp",
        outcomes={scenario_id("G1-LOAD"): Outcome.FALSIFIED},
    )


@pytest.fixture(scope="module")
def service() -> LocalSigstore:
    return LocalSigstore()


@pytest.fixture(scope="module")
def verifier(service: LocalSigstore, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_verifier(service.write_root(tmp_path_factory.mktemp("root") / "root.json"))


Check = Callable[..., VerifiedAttestation | BrokenLink]


@pytest.fixture(scope="module")
def check(bundle: Bundle, verifier: Any, tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Verifies an attestation, given as JSON values or as the bytes of a file."""
    path = tmp_path_factory.mktemp("attestation") / "attestation.json"

    def call(
        attestation: Any, *, of: Bundle = bundle, expected: ExpectedSigner = EXPECTED
    ) -> VerifiedAttestation | BrokenLink:
        data = attestation if isinstance(attestation, bytes) else json.dumps(attestation).encode()
        path.write_bytes(data)
        return check_attestation([path], of, expected, verifier)

    return call


def refused(found: VerifiedAttestation | BrokenLink) -> str:
    assert isinstance(found, BrokenLink), found
    assert found.link is Link.ATTESTATION
    assert found.what
    return found.what


def payload_of(bundle: Bundle) -> bytes:
    return statement_bytes(statement_of(bundle, url=URL))


@pytest.fixture(scope="module")
def good(service: LocalSigstore, bundle: Bundle) -> Any:
    return service.attest(payload_of(bundle))


def test_a_signature_of_the_expected_workflow_about_this_bundle_holds(
    check: Check, good: Any, bundle: Bundle
) -> None:
    found = check(good)
    assert isinstance(found, VerifiedAttestation)
    assert found.signer == SIGNER
    assert found.digests == {each.digest["sha256"] for each in statement_of(bundle).subject}
    assert bundle.certificate.evidence_digest in found.digests


def test_one_of_several_saved_ones_is_enough(
    check: Check, service: LocalSigstore, good: Any, blocked: Bundle
) -> None:
    other = json.dumps(service.attest(payload_of(blocked)))
    lines = f"{other}\n{json.dumps(good)}\n".encode()
    assert isinstance(check(lines), VerifiedAttestation)
    assert isinstance(check(json.dumps(good, indent=2).encode()), VerifiedAttestation)
    assert "about another" in refused(check(f"{other}\n{other}\n".encode()))


def test_a_reusable_workflow_signs_as_itself_in_the_run_of_its_caller(
    check: Check, service: LocalSigstore, bundle: Bundle
) -> None:
    name = "org/apr-qa/.github/workflows/attest.yml"
    signed = service.attest(payload_of(bundle), workflow=f"https://github.com/{name}@refs/tags/v1")
    assert "not by https://github.com/octo/models" in refused(check(signed))
    for identity in (name, f"{name}@refs/tags/v1"):
        expected = replace(EXPECTED, identity=identity)
        assert isinstance(check(signed, expected=expected), VerifiedAttestation)
    for identity in (
        f"{name}@refs/tags/v2",
        f"{name}@refs/tags/v",
        f"{name.replace('attest', 'a')}",
    ):
        assert "signed by" in refused(check(signed, expected=replace(EXPECTED, identity=identity)))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"workflow": SIGNER.replace("attest.yml", "certify.yml")}, "certify.yml"),
        ({"workflow": SIGNER.replace("octo/models", "mallory/models")}, "mallory"),
        ({"workflow": SIGNER.replace("github.com", "github.com.example")}, "signed by"),
        ({"repository": "https://github.com/mallory/models"}, "OIDCSourceRepositoryURI"),
        ({"ref": "refs/pull/7/merge"}, "OIDCSourceRepositoryRef"),
        ({"issuer": "https://accounts.example"}, "OIDCIssuerV2"),
        ({"signed": NOON + timedelta(minutes=6)}, "chain"),
        ({"signed": NOON - timedelta(minutes=6)}, "chain"),
        ({"payload_type": "text/plain"}, "no statement"),
    ],
)
def test_a_good_signature_of_somebody_else_or_of_another_time_does_not_count(
    check: Check, service: LocalSigstore, bundle: Bundle, changes: dict[str, Any], why: str
) -> None:
    assert why in refused(check(service.attest(payload_of(bundle), Signing(), **changes)))


def test_a_signature_under_another_root_does_not_count(check: Check, bundle: Bundle) -> None:
    assert "certificate chain" in refused(check(LocalSigstore().attest(payload_of(bundle))))


def entry(attestation: Any) -> Any:
    (found,) = attestation["verificationMaterial"]["tlogEntries"]
    return found


def no_entry(attestation: Any, _: Any) -> None:
    attestation["verificationMaterial"]["tlogEntries"] = []


def no_promise(attestation: Any, _: Any) -> None:
    del entry(attestation)["inclusionPromise"]


def no_proof(attestation: Any, _: Any) -> None:
    del entry(attestation)["inclusionProof"]


def entry_of_another(attestation: Any, other: Any) -> None:
    attestation["verificationMaterial"]["tlogEntries"] = [entry(other)]


def certificate_of_another(attestation: Any, other: Any) -> None:
    attestation["verificationMaterial"]["certificate"] = other["verificationMaterial"][
        "certificate"
    ]


def payload_of_another(attestation: Any, other: Any) -> None:
    attestation["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]


def envelope_of_another(attestation: Any, other: Any) -> None:
    attestation["dsseEnvelope"] = other["dsseEnvelope"]


def signature_twice(attestation: Any, _: Any) -> None:
    attestation["dsseEnvelope"]["signatures"] *= 2


def no_signature(attestation: Any, _: Any) -> None:
    attestation["dsseEnvelope"]["signatures"] = []


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (no_entry, "one log entry"),
        (no_promise, "inclusion promise"),
        (no_proof, "inclusionProof"),
        (entry_of_another, "log entry payload"),
        (certificate_of_another, "invalid signature"),
        (payload_of_another, "invalid signature"),
        (envelope_of_another, "invalid signature"),
        (signature_twice, "exactly one signature"),
        (no_signature, "exactly one signature"),
    ],
)
def test_parts_of_different_signatures_do_not_make_one(
    *,
    check: Check,
    service: LocalSigstore,
    good: Any,
    blocked: Bundle,
    spoil: Callable[..., None],
    why: str,
) -> None:
    other = service.attest(payload_of(blocked))
    attestation = copy.deepcopy(good)
    spoil(attestation, other)
    assert why in refused(check(attestation))
    assert why in refused(check(attestation, of=blocked))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in pairs:
        if isinstance(part, dict | list):
            yield from leaves(part, (*path, key))
        else:
            yield (*path, key)


def test_any_flipped_bit_is_found(check: Check, good: Any) -> None:
    """Of each value that is bytes: signature, certificate, payload, entry, proofs."""
    tried = 0
    for path in leaves(good):
        *way, last = path
        attestation = copy.deepcopy(good)
        place = attestation
        for key in way:
            place = place[key]
        if last in {"mediaType", "kind", "version", "payloadType"}:
            continue
        if last == "envelope":
            place[last] = place[last].replace("\n2\n", "\n3\n")
        elif place[last].isdecimal():
            place[last] = str(int(place[last]) + 1)
        else:
            data = bytearray(base64.b64decode(place[last]))
            data[len(data) // 2] ^= 1
            place[last] = base64.b64encode(data).decode()
        if last == "keyId":
            # Only says which key to try; what is signed with it is held against the same text.
            continue
        refused(check(attestation))
        tried += 1
    assert tried >= 10


def signed_statement(service: LocalSigstore, statement: Statement) -> Any:
    return service.attest(statement_bytes(statement))


def test_a_statement_about_other_files_is_not_about_this_bundle(
    check: Check, service: LocalSigstore, bundle: Bundle
) -> None:
    own = statement_of(bundle)
    first, *others = own.subject
    changed = msgspec.structs.replace(first, digest={"sha256": "0" * 64})
    for subject, why in (
        ((changed, *others), "about another certificate.json"),
        (tuple(others), "does not name certificate.json"),
        ((*own.subject, msgspec.structs.replace(first, name="more")), "other files, too"),
        ((changed, *own.subject), "other files, too"),
    ):
        statement = msgspec.structs.replace(own, subject=subject)
        assert why in refused(check(signed_statement(service, statement)))


def test_another_result_than_the_bundle_gives_does_not_hold(
    check: Check, service: LocalSigstore, blocked: Bundle
) -> None:
    own = statement_of(blocked)
    passed = msgspec.structs.replace(own.predicate, result="PASSED")
    told = refused(
        check(signed_statement(service, msgspec.structs.replace(own, predicate=passed)), of=blocked)
    )
    assert "PASSED was signed, the bundle gives FAILED" in told
    fewer = msgspec.structs.replace(own.predicate, failed_tests=())
    statement = msgspec.structs.replace(own, predicate=fewer)
    assert "another test result" in refused(check(signed_statement(service, statement), of=blocked))


def test_another_version_may_list_its_tests_otherwise(
    check: Check, service: LocalSigstore, bundle: Bundle
) -> None:
    certificate = msgspec.structs.replace(bundle.certificate, tool_version="0.0.1")
    older = replace(bundle, certificate=certificate)
    own = statement_of(older)
    fewer = msgspec.structs.replace(own.predicate, passed_tests=())
    signed = signed_statement(service, msgspec.structs.replace(own, predicate=fewer))
    assert isinstance(check(signed, of=older), VerifiedAttestation)
    refused(check(signed))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"{}",
        b"\xff",
        b'{"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "x"}',
        b"[" * 100_000,
    ],
)
def test_what_is_signed_and_no_statement_of_ours_does_not_hold(
    check: Check, service: LocalSigstore, payload: bytes
) -> None:
    assert "the signed statement" in refused(check(service.attest(payload)))


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_is_in_the_file_nothing_but_our_own_words_comes_out(
    check: Check, good: Any, data: st.DataObject
) -> None:
    attestation = copy.deepcopy(good)
    *way, last = data.draw(st.sampled_from(sorted(leaves(good), key=str)))
    place = attestation
    for key in way:
        place = place[key]
    wrong = st.one_of(
        st.none(), st.booleans(), st.integers(), st.text(), st.just({}), st.just([]), st.binary()
    )
    drawn = data.draw(wrong)
    place[last] = base64.b64encode(drawn).decode() if isinstance(drawn, bytes) else drawn
    found = check(attestation)
    assert isinstance(found, BrokenLink) or attestation == good
    assert "\n" not in getattr(found, "what", "")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "there is no attestation"),
        (b"\n \n", "there is no attestation"),
        (b"\xff\xfe", "not UTF-8"),
        (b"{}\n" * 101, "at most 100"),
        (b" " * ((8 << 20) + 1), "larger than"),
    ],
)
def test_a_file_that_cannot_be_one_is_refused(check: Check, data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=why):
        check(data)


@pytest.mark.parametrize("data", [b"{}", b"[]", b"nonsense", b"{\n" * 20_000, b'"\\ud800"', b"1"])
def test_a_file_with_something_else_does_not_hold(check: Check, data: bytes) -> None:
    assert "failed to load bundle" in refused(check(data))


def test_a_signer_is_named_as_github_names_it() -> None:
    with pytest.raises(InputError) as caught:
        ExpectedSigner(source="https://github.com/octo/models", identity="attest.yml")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("content", ["", "{}", "nonsense", None])
def test_a_root_of_trust_that_is_none_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "root.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match="there is no root of trust"):
        load_verifier(path)


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "sigstore"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sigstore", None)
    with pytest.raises(InputError) as caught:
        load_verifier()
    assert "aprqa-ci[attest]" in str(caught.value)


def test_where_the_public_root_cannot_be_fetched_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable() -> None:
        msg = "Failed to refresh TUF metadata"
        raise TUFError(msg)

    monkeypatch.setattr(Verifier, "production", unreachable)
    with pytest.raises(InputError) as caught:
        load_verifier()
    assert "Failed to refresh" in str(caught.value)
    assert "--trust-root" in str(caught.value)
