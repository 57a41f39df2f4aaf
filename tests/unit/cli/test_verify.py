import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, EVIDENCE_NAME, Bundle
from aprqa_ci.certification.statement import statement_bytes, statement_of
from aprqa_ci.planning.plan import Plan
from aprqa_ci.reports.write import write_reports
from aprqa_ci.vocabulary import Outcome
from tests.local_sigstore import LocalSigstore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa, BundleOf


def test_it_says_what_holds_and_what_could_not_be_checked(
    aprqa: "Aprqa", certified: Bundle
) -> None:
    write_reports(certified.directory, certified.report)
    ended = aprqa("verify", certified.directory)
    assert (ended.code, ended.err) == (0, "")
    assert f"{certified.directory}: holds: plan, records, evidence" in ended.out
    assert "  not checked: models: the files are not at hand (--models)\n" in ended.out


def test_the_first_link_that_does_not_hold_is_said(aprqa: "Aprqa", certified: Bundle) -> None:
    path = certified.directory / EVIDENCE_NAME
    path.write_bytes(path.read_bytes().replace(b"Corroborated", b"Falsified", 1))
    ended = aprqa("verify")
    assert ended.code == 1
    assert "bundle: does not hold: evidence: " in ended.out
    assert "more, --json has all)" in ended.out
    said = aprqa("verify", "--json")
    assert said.code == 1
    found = json.loads(said.out)
    assert found["holds"] is False
    assert found["bundles"][0]["broken"][0]["link"] == "evidence"
    assert len(found["bundles"][0]["broken"]) > 1


def test_model_files_are_hashed_again(aprqa: "Aprqa", certified: Bundle, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    ended = aprqa("verify", certified.directory, "--models", tmp_path / "models")
    assert ended.code == 0
    assert "not checked: models: the certificate names no file of the model" in ended.out


def test_a_bundle_that_cannot_be_read_is_bad_input(
    aprqa: "Aprqa", bundle_of: "BundleOf", certified: Bundle
) -> None:
    other = bundle_of(name="other").directory
    (other / CERTIFICATE_NAME).write_text("{", encoding="utf-8")
    ended = aprqa("verify")
    assert ended.code == 2
    assert f"{certified.directory.name}: holds" in ended.out
    assert "other/certificate.json" in ended.err
    (certified.directory / EVIDENCE_NAME).write_text("[]", encoding="utf-8")
    both = aprqa("verify")
    assert both.code == 1
    assert "other/certificate.json" in both.err
    assert json.loads(aprqa("verify", "--json").out)["unreadable"]


def test_where_there_is_no_bundle_nothing_holds(aprqa: "Aprqa", tmp_path: Path) -> None:
    ended = aprqa("verify", tmp_path)
    assert ended.code == 2
    assert "there is no bundle here" in ended.err
    assert aprqa("verify", tmp_path / "nowhere").code == 2


def test_what_was_signed_is_a_link_of_its_own(
    aprqa: "Aprqa", certified: Bundle, blocked_too: Bundle, tmp_path: Path
) -> None:
    service = LocalSigstore()
    root = service.write_root(tmp_path / "root.json")
    saved = tmp_path / "saved.json"
    saved.write_text(json.dumps(service.attest(statement_bytes(statement_of(certified)))))
    options = ["--attestation", saved, "--trust-root", root, "--source", "octo/models"]
    ended = aprqa("verify", certified.directory, *options)
    assert (ended.code, ended.err) == (0, "")
    assert "attestation\n  signed by https://github.com/octo/models/" in ended.out
    told = json.loads(aprqa("verify", certified.directory, "--json", *options).out)
    assert told["bundles"][0]["signer"].endswith("/attest.yml@refs/heads/main")
    assert told["bundles"][0]["held"][-1] == "attestation"

    other = aprqa("verify", blocked_too.directory, *options)
    assert other.code == 1
    assert "does not hold: attestation: " in other.out
    assert "the signed statement is about another certificate.json" in other.out
    for more in (["--source-ref", "refs/heads/release"], ["--identity", "a/b/.github/workflows/c"]):
        assert aprqa("verify", certified.directory, *options, *more).code == 1
    (certified.directory / EVIDENCE_NAME).write_text("[1]", encoding="utf-8")
    damaged = aprqa("verify", certified.directory, *options)
    assert "not checked: attestation: the evidence cannot be scored" in damaged.out


@pytest.fixture
def blocked_too(bundle_of: "BundleOf", plan: Plan) -> Bundle:
    return bundle_of({f"{plan.cells[0].id}#G1-LOAD": Outcome.FALSIFIED}, name="blocked")


def test_whose_signature_counts_must_be_said(
    aprqa: "Aprqa", certified: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "saved.json").write_text("{}")
    for options in (
        ["--source", "octo/models"],
        ["--identity", "a/b/.github/workflows/c"],
        ["--attestation", "saved.json"],
        ["--attestation", "saved.json", "--source", "models"],
        ["--attestation", "saved.json", "--source", "a/b", "--trust-root", "saved.json"],
        ["--attestation", "none.json", "--source", "a/b"],
    ):
        assert aprqa("verify", certified.directory, *options).code == 2, options
