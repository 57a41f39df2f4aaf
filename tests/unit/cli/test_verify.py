import json
from pathlib import Path
from typing import TYPE_CHECKING

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, EVIDENCE_NAME, Bundle
from aprqa_ci.reports.write import write_reports

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
