from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.files import sha256_bytes
from aprqa_ci.github.proposal import Base, Declined, Places, Proposal, branch_of, propose
from aprqa_ci.github.settings import load_publishing
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import pretty_json
from tests.bundles import made_bundle, scenario_id

PLACES = Places()
MARKED = b"# x\n\n<!-- CERTIFICATION_TABLE_START -->\n<!-- CERTIFICATION_TABLE_END -->\n\nend\n"
HOME = "certifications/tiny-mvp"

Make = Callable[..., Proposal | Declined]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def propose_from(bundle: Bundle | None = None, **changes: Any) -> Proposal | Declined:
        base = {"registry": EMPTY_REGISTRY, "readme": MARKED, "certificate": None}
        publishing = load_publishing()
        if (most := changes.pop("inline", None)) is not None:
            publishing = msgspec.structs.replace(publishing, inline_evidence_bytes=most)
        verified = changes.pop("verified", True)
        return propose(
            bundle or made_bundle(tmp_path / "bundle"),
            Base(**(base | changes)),
            places=PLACES,
            publishing=publishing,
            verified=verified,
            footer="the run",
        )

    return propose_from


def proposal(result: Proposal | Declined) -> Proposal:
    assert isinstance(result, Proposal), result
    return result


def test_a_first_certificate(make: Make) -> None:
    found = proposal(make())
    assert found.branch == "aprqa/certify/tiny-mvp"
    assert found.title == "feat(cert): tiny mvp: CERTIFIED 1000 (A)"
    assert found.labels == ("certification", "status: certified", "tier: mvp")
    assert list(found.files) == [
        "docs/certifications/models.csv",
        "README.md",
        f"{HOME}/plan.json",
        f"{HOME}/certificate.json",
        f"{HOME}/report.md",
        f"{HOME}/accepted-certificate.json",
        f"{HOME}/evidence.json",
    ]
    data = found.files["docs/certifications/models.csv"]
    assert data is not None
    assert data.startswith(EMPTY_REGISTRY + b"aprqa/tiny-1M,,1M,tiny,CERTIFIED,1000,A,mvp,2026-01-")
    readme = found.files["README.md"]
    assert readme is not None
    assert b"[tiny-1M](https://huggingface.co/aprqa/tiny-1M)" in readme
    assert (
        found.files[f"{HOME}/certificate.json"] == found.files[f"{HOME}/accepted-certificate.json"]
    )
    assert "\nEvidence-SHA256: " in found.message
    marker, _, content = found.body.partition("\n")
    assert marker.startswith("<!-- aprqa-ci:certified ")
    assert content.startswith("# Certification\n\n- **CERTIFIED** `tiny-mvp`")
    assert found.body.endswith("\nthe run\n")
    assert "aprqa score certifications/tiny-mvp --explain" in found.body
    assert "+aprqa/tiny-1M,,1M,tiny,CERTIFIED,1000,A,mvp" in found.diff
    assert f"+++ b/{HOME}/evidence.json\n(" in found.diff


def test_what_is_there_already_is_not_proposed(make: Make, tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    first = proposal(make(bundle))
    from aprqa_ci.github.proposal import _blob_name

    blobs = {path: _blob_name(data) for path, data in first.files.items() if data is not None}
    there = {
        "registry": first.files["docs/certifications/models.csv"],
        "readme": first.files["README.md"],
        "certificate": pretty_json(bundle.certificate),
    }
    assert make(bundle, **there, blobs=blobs) == Declined(reason="all of it stands already")
    # What is missing of it is proposed, and nothing else.
    del blobs[f"{HOME}/report.md"]
    mended = proposal(make(bundle, **there, blobs=blobs))
    assert list(mended.files) == [f"{HOME}/report.md"]


def test_gits_names_of_contents() -> None:
    from aprqa_ci.github.proposal import _blob_name

    # git hash-object of "hello\n"
    assert _blob_name(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_a_fall_is_plainly_titled(make: Make, tmp_path: Path) -> None:
    good = made_bundle(tmp_path / "good")
    bad = made_bundle(tmp_path / "bad", outcomes={scenario_id("G1-LOAD"): Outcome.CRASHED}, days=1)
    first = proposal(make(good))
    found = proposal(
        make(
            bad,
            registry=first.files["docs/certifications/models.csv"],
            certificate=pretty_json(good.certificate),
        )
    )
    assert found.title == "feat(cert): tiny mvp: BLOCKED 0 (F), was CERTIFIED 1000"
    assert found.labels == ("certification", "status: blocked", "tier: mvp")
    assert f"{HOME}/accepted-certificate.json" not in found.files
    assert "### New failures (1)" in found.body


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"verified": False}, "the evidence is unverified"),
        (
            {
                "registry": EMPTY_REGISTRY + b"aprqa/tiny-1M,,,tiny,CERTIFIED,900,A,full,"
                b"2025-01-01T00:00:00Z,true,true,true,true,,,,,,,false\n"
            },
            "tier mvp is below full",
        ),
    ],
)
def test_what_is_not_better_is_declined(make: Make, changes: dict[str, Any], reason: str) -> None:
    found = make(**changes)
    assert isinstance(found, Declined)
    assert found.reason.startswith(reason)


def test_an_inconclusive_run_is_declined(make: Make, tmp_path: Path) -> None:
    bundle = made_bundle(
        tmp_path / "b",
        outcomes={scenario_id(): Outcome.SKIPPED},
        cause="infrastructure:engine-missing",
    )
    found = make(bundle)
    assert isinstance(found, Declined)
    assert "inconclusive" in found.reason


def test_large_evidence_is_named_by_its_digest(make: Make, tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    size = (bundle.directory / "evidence.json").stat().st_size
    found = proposal(make(bundle, inline=size - 1, blobs={f"{HOME}/evidence.json": "0" * 40}))
    assert found.files[f"{HOME}/evidence.json"] is None
    digest = bundle.certificate.evidence_digest
    assert found.files[f"{HOME}/evidence.json.sha256"] == f"{digest}  evidence.json\n".encode()
    assert f"+++ b/{HOME}/evidence.json\n(removed)" in found.diff
    found = proposal(make(bundle, inline=size, blobs={f"{HOME}/evidence.json.sha256": "0" * 40}))
    data = found.files[f"{HOME}/evidence.json"]
    assert data is not None
    assert sha256_bytes(data) == digest
    assert found.files[f"{HOME}/evidence.json.sha256"] is None
    fresh = proposal(make(bundle, inline=size))
    assert f"{HOME}/evidence.json.sha256" not in fresh.files


def test_evidence_that_changed_meanwhile_is_refused(make: Make, tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "b")
    with (bundle.directory / "evidence.json").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(InputError, match="not what the certificate was made of"):
        make(bundle)


def test_a_readme_without_markers_stays(make: Make) -> None:
    assert proposal(make(readme=b"# x\n")).files["README.md"] == b"# x\n"
    assert "README.md" not in proposal(make(readme=None)).files
    with pytest.raises(InputError, match=r"README\.md: the text is not UTF-8"):
        make(readme=b"\xff")


def test_a_missing_registry_is_made(make: Make) -> None:
    data = proposal(make(registry=None)).files["docs/certifications/models.csv"]
    assert data is not None
    assert data.startswith(EMPTY_REGISTRY)


def test_a_registry_of_another_form_is_refused(make: Make) -> None:
    with pytest.raises(InputError, match=r"models\.csv:1: the header is not that"):
        make(registry=b"a,b\n")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "-a", ".a", "a..b", "a.", "a.lock", "a b", "ä", "a" * 101, "a\n"]
)
def test_a_name_that_leads_astray_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="not fit for a branch"):
        branch_of(name)


def test_names_of_playbooks_are_fit() -> None:
    assert branch_of("qwen2.5-coder-0.5b-mvp") == "aprqa/certify/qwen2.5-coder-0.5b-mvp"


def test_hostile_answers_do_not_act_in_the_text(make: Make, tmp_path: Path) -> None:
    hostile = "fixes #1 @org/team <!-- aprqa-ci:report --> ![x](https://evil.test)\n::error::x\n| a"

    def mend(record: EvidenceRecord) -> EvidenceRecord:
        return msgspec.structs.replace(record, reason=hostile, output=hostile)

    bundle = made_bundle(tmp_path / "b", outcomes={scenario_id(): Outcome.FALSIFIED}, mend=mend)
    found = proposal(make(bundle))
    # Squashing makes a commit message of title and text, in which GitHub looks for orders.
    _, _, content = found.body.partition("\n")
    for text in (found.title, content, found.message):
        assert "@org" not in text
        assert "fixes #1" not in text
        assert "://evil" not in text
        assert "<!--" not in text
        assert "\n::" not in text
