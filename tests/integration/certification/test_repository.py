"""A repository with real git: certifications, their rows, and the commits that wrote the rows."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from aprqa_ci.certification.bundle import (
    CERTIFICATE_NAME,
    DIGEST_NAME,
    EVIDENCE_NAME,
    PLAN_NAME,
    Bundle,
    read_bundle,
)
from aprqa_ci.certification.chain import Link
from aprqa_ci.certification.git_history import NoHistoryError, history_of
from aprqa_ci.certification.provenance import VerifiedAttestation
from aprqa_ci.certification.registering import register_bundle
from aprqa_ci.certification.repository import RepositoryVerification, verify_repository
from aprqa_ci.certification.statement import statement_bytes, statement_of
from aprqa_ci.certification.verifying import Verification
from aprqa_ci.cli.main import run
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.registry.update_file import write_provenance
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id
from tests.local_sigstore import LocalSigstore

MODEL = "aprqa/tiny-1M"
REGISTRY = "docs/certifications/models.csv"


def with_listed_files(record: EvidenceRecord) -> EvidenceRecord:
    """Let the inspection have listed the file that such bundles name."""
    if record.gate_id != "G0-DIGEST-001" or record.scenario.format != "gguf":
        return record
    return replace(record, output=f"{'f' * 64}  model.gguf")


class Checkout:
    """A git checkout in which models are certified."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.registry = root / REGISTRY
        self.place = "certifications/tiny-mvp"
        root.mkdir()
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "gc.auto=0"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.root.parent)}
        return subprocess.run(
            ["git", *identity, *arguments],  # noqa: S607 - the git of this machine
            cwd=self.root,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "work")
        return self.git("rev-parse", "HEAD").strip()

    def certify(self, **options: Any) -> Bundle:
        name = options.get("playbook", "tiny-mvp")
        directory = self.root / "certifications" / name
        bundle = made_bundle(directory, mend=with_listed_files, **options)
        register_bundle(bundle, registry=self.registry, readme=None)
        return bundle

    def verified(self, **options: Any) -> RepositoryVerification:
        return verify_repository(
            self.root,
            registry=REGISTRY,
            certifications="certifications",
            environment=options.pop("environment", {"PATH": os.environ["PATH"]}),
            **options,
        )

    def one(self, **options: Any) -> Verification:
        (found,) = self.verified(**options).bundles
        return found

    def why(self, link: Link) -> str:
        """Why the link was not checked."""
        return next(each.why for each in self.one().unchecked if each.link is link)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "repository")


@pytest.fixture
def certified(checkout: Checkout) -> Checkout:
    """A certification in one commit with its row."""
    checkout.certify()
    checkout.commit()
    return checkout


def attested(bundle: Bundle) -> VerifiedAttestation:
    files = bundle.certificate.model.files.values()
    digests = {digest for names in files for digest in names.values()}
    digests.add(bundle.certificate.evidence_digest)
    return VerifiedAttestation(signer="attest.yml", digests=frozenset(digests))


def test_a_certification_holds_up_to_the_commit_of_its_row(certified: Checkout) -> None:
    found = certified.one()
    assert found.broken == ()
    assert {Link.REGISTRY, Link.COMMIT} <= set(found.held)
    certified.certify(playbook="other", model="org/other", outcomes=None)
    certified.commit()
    assert certified.verified().holds


@pytest.mark.parametrize("name", [PLAN_NAME, EVIDENCE_NAME, CERTIFICATE_NAME])
def test_a_row_whose_commit_holds_another_bundle(certified: Checkout, name: str) -> None:
    path = certified.root / certified.place / name
    certified.certify(days=1)
    good = path.read_bytes()
    path.write_bytes(good.replace(b"tiny-mvp", b"tiny-mop", 1).replace(b"because", b"cause", 1))
    assert path.read_bytes() != good
    commit = certified.commit()
    path.write_bytes(good)
    certified.commit()
    (broken,) = certified.one().broken
    assert (broken.link, broken.path) == (Link.COMMIT, f"{certified.place}/{name}")
    assert broken.what == f"commit {commit[:12]} wrote the row and holds another {name}"


def test_a_row_that_was_written_without_its_bundle(checkout: Checkout) -> None:
    checkout.certify()
    checkout.git("add", REGISTRY)
    checkout.git("commit", "-q", "-m", "row")
    checkout.commit()
    broken = checkout.one().broken
    assert {each.link for each in broken} == {Link.COMMIT}
    assert len(broken) == 3
    assert "wrote the row and holds no plan.json" in broken[0].what


def test_an_edited_row_contradicts_its_certificate(certified: Checkout) -> None:
    data = certified.registry.read_bytes()
    certified.registry.write_bytes(data.replace(b",1000,A,", b",999,A,"))
    found = certified.one()
    assert [each.link for each in found.broken] == [Link.REGISTRY]
    assert "mqs_score is 999, 1000 by the certificate" in found.broken[0].what
    certified.commit()
    assert not certified.verified().holds
    certified.registry.write_bytes(data.split(b"\n")[0] + b"\n")
    assert "has no row of aprqa/tiny-1M" in certified.one().broken[0].what


def test_what_is_not_committed_is_said(certified: Checkout) -> None:
    certified.certify(days=1)
    assert certified.why(Link.COMMIT) == "the row as it is here is not committed"
    assert certified.one().holds


def test_provenance_is_written_by_verification_alone(certified: Checkout) -> None:
    assert certified.verified().provenance[MODEL].missing == (
        "there is no attestation whose signature was verified",
    )
    result = certified.verified(attestations=attested).provenance[MODEL]
    assert (result.verified, result.missing) == (True, ())
    write_provenance(certified.registry, [MODEL])
    certified.commit()
    assert certified.registry.read_bytes().endswith(b",true\n")
    # The commit that flipped the cell holds the bundle as well.
    assert certified.verified(attestations=attested).provenance[MODEL].verified
    certified.certify()
    assert certified.registry.read_bytes().endswith(b",true\n")
    certified.certify(days=1)
    assert certified.registry.read_bytes().endswith(b",false\n")
    missing = certified.verified(attestations=attested).provenance[MODEL].missing
    assert missing == ("commit was not checked",)


def test_the_command_takes_back_what_nothing_proves(
    certified: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    write_provenance(certified.registry, [MODEL])
    assert run(["verify", "--repo", str(certified.root), "--write"]) == 0
    said = capsys.readouterr().out
    assert f"{MODEL}: provenance not verified: there is no attestation" in said
    assert f"{MODEL}: provenance_verified: true -> false" in said
    assert certified.registry.read_bytes().endswith(b",false\n")
    assert run(["verify", "--repo", str(certified.root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is True
    assert told["provenance"][MODEL]["verified"] is False
    certified.registry.write_bytes(certified.registry.read_bytes().replace(b",A,", b",B,"))
    assert run(["verify", "--repo", str(certified.root)]) == 1
    assert f"{MODEL}: no certification here gives its row" in capsys.readouterr().out
    for wrong in (["--write"], ["--repo", "--models", str(certified.root)]):
        assert run(["verify", str(certified.root), *wrong]) == 2


def test_a_verified_signature_makes_the_row_say_so(
    certified: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = LocalSigstore()
    bundle = read_bundle(certified.root / certified.place)
    saved = tmp_path / "attestation.json"
    signed = ["--attestation", str(saved), "--source", "octo/models"]
    signed += ["--trust-root", str(service.write_root(tmp_path / "root.json"))]
    command = ["verify", "--repo", str(certified.root), "--write", *signed]
    payload = statement_bytes(statement_of(bundle))
    for attestation, said in (
        (service.attest(payload, ref="refs/heads/topic"), b",false\n"),
        (LocalSigstore().attest(payload), b",false\n"),
        (service.attest(payload), b",true\n"),
    ):
        saved.write_text(json.dumps(attestation))
        assert run(command) == 0
        assert certified.registry.read_bytes().endswith(said)
    assert f"{MODEL}: provenance verified" in capsys.readouterr().out


def test_the_older_certification_of_a_model_is_not_held_against_the_row(
    certified: Checkout,
) -> None:
    certified.certify(playbook="tiny-full", days=1)
    certified.commit()
    found = {Path(each.directory).name: each for each in certified.verified().bundles}
    assert Link.COMMIT in found["tiny-full"].held
    assert "registry: the row is that of certifications/tiny-full" in [
        str(each) for each in found["tiny-mvp"].unchecked
    ]


def test_a_run_without_a_verdict_has_no_row(checkout: Checkout) -> None:
    checkout.certify()
    checkout.certify(
        playbook="later",
        outcomes={scenario_id(playbook="later"): Outcome.SKIPPED},
        cause="infrastructure:no-memory",
    )
    assert "says nothing about its model" in str(checkout.verified().bundles[0].unchecked)
    assert checkout.verified().holds


def test_a_bundle_that_cannot_be_read_or_scored(certified: Checkout) -> None:
    certified.certify(playbook="other", model="org/other")
    other = certified.root / "certifications" / "other"
    (other / EVIDENCE_NAME).write_bytes(b"\xff")
    found = certified.verified()
    assert not found.holds
    assert found.without_bundle == ("org/other",)
    (other / EVIDENCE_NAME).rename(other / DIGEST_NAME)
    (problem,) = certified.verified().unreadable
    assert "only the digest is here (it was too large for the repository" in str(problem)


def test_why_there_is_no_history_is_said(checkout: Checkout, tmp_path: Path) -> None:
    checkout.certify()
    assert checkout.why(Link.COMMIT) == "nothing is committed yet"
    checkout.commit()
    checkout.certify(days=1)
    checkout.commit()
    shallow = tmp_path / "shallow"
    checkout.git("clone", "-q", "--depth", "1", f"file://{checkout.root}", str(shallow))
    path = {"PATH": os.environ["PATH"]}
    with pytest.raises(NoHistoryError, match="the history is cut off"):
        history_of(shallow, path)
    with pytest.raises(NoHistoryError, match="is no git checkout"):
        history_of(tmp_path, path)
    with pytest.raises(NoHistoryError, match="git is not installed"):
        history_of(checkout.root, {"PATH": str(tmp_path)})


def test_replaced_objects_are_not_believed(certified: Checkout) -> None:
    path = certified.root / certified.place / EVIDENCE_NAME
    committed = certified.git("rev-parse", f"HEAD:{certified.place}/{EVIDENCE_NAME}").strip()
    whole = path.read_bytes()
    path.write_bytes(b"[]")
    other = certified.git("hash-object", "-w", str(path)).strip()
    path.write_bytes(whole)
    certified.git("replace", committed, other)
    history = history_of(certified.root, {"PATH": os.environ["PATH"]})
    assert history.file(f"{certified.place}/{EVIDENCE_NAME}") == whole
    assert history.file("nowhere") is None
    assert certified.one().holds


def test_a_repository_without_registry_or_certifications(checkout: Checkout) -> None:
    with pytest.raises(InputError, match=r"models\.csv"):
        checkout.verified()
    checkout.certify()
    (checkout.root / "certifications").rename(checkout.root / "elsewhere")
    with pytest.raises(InputError, match="no bundle here"):
        checkout.verified()
