from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.registry import update_file
from aprqa_ci.registry.lock import Process
from aprqa_ci.registry.readme_table import TABLE_END, TABLE_START
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa, BundleOf


def test_it_says_what_changed_and_the_second_time_that_nothing_did(
    aprqa: "Aprqa", certified: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "README.md").write_text(f"{TABLE_START}\n{TABLE_END}\n", encoding="utf-8")
    first = aprqa("register", certified.directory)
    assert first.code == 0
    assert "  mqs_score: (empty) -> 1000" in first.out.splitlines()
    registry = tmp_path / "docs" / "certifications" / "models.csv"
    before = registry.read_bytes(), (tmp_path / "README.md").read_bytes()
    assert b"org/tiny" in before[1]
    again = aprqa("register", certified.directory)
    assert (again.code, again.out) == (0, "docs/certifications/models.csv says all of it already\n")
    assert (registry.read_bytes(), (tmp_path / "README.md").read_bytes()) == before


def test_a_verdict_against_the_model_is_registered_too(
    aprqa: "Aprqa", blocked: Bundle, tmp_path: Path
) -> None:
    ended = aprqa("register", blocked.directory, "--registry", "models.csv")
    assert ended.code == 0
    assert b"BLOCKED" in (tmp_path / "models.csv").read_bytes()


def test_what_is_better_stays_until_told_otherwise(aprqa: "Aprqa", tmp_path: Path) -> None:
    newer = made_bundle(tmp_path / "newer", days=1).directory
    older = made_bundle(tmp_path / "older", outcomes={scenario_id(): Outcome.FALSIFIED}).directory
    aprqa("register", newer, "--registry", "models.csv")
    before = (tmp_path / "models.csv").read_bytes()
    ended = aprqa("register", older, "--registry", "models.csv")
    assert ended.code == 2
    assert "what stands is of" in ended.err
    assert "--replace-better" in ended.err
    assert (tmp_path / "models.csv").read_bytes() == before
    told = aprqa("register", older, "--registry", "models.csv", "--replace-better")
    assert told.code == 0
    assert (tmp_path / "models.csv").read_bytes() != before


def test_an_inconclusive_certificate_changes_no_byte(
    aprqa: "Aprqa", bundle_of: "BundleOf", inconclusive: Bundle, tmp_path: Path
) -> None:
    aprqa("register", bundle_of(name="good").directory, "--registry", "models.csv")
    before = (tmp_path / "models.csv").read_bytes()
    ended = aprqa("register", inconclusive.directory, "--registry", "models.csv")
    assert ended.code == 3
    assert "error: the certificate comes to no verdict; models.csv is as it was" in ended.err
    assert (tmp_path / "models.csv").read_bytes() == before


def test_a_registry_with_another_header_is_left_alone(
    aprqa: "Aprqa", certified: Bundle, tmp_path: Path
) -> None:
    path = tmp_path / "models.csv"
    path.write_bytes(b"name,score\r\nx,1\r\n")
    ended = aprqa("register", certified.directory, "--registry", path)
    assert ended.code == 2
    assert str(path) in ended.err
    assert path.read_bytes() == b"name,score\r\nx,1\r\n"


def test_a_locked_registry_is_left_alone(
    aprqa: "Aprqa", certified: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update_file, "Process", partial(Process, patience_s=0.0))
    path = tmp_path / "models.csv"
    aprqa("register", certified.directory, "--registry", path)
    before = path.read_bytes()
    (tmp_path / "models.csv.lock").write_text("{}", encoding="utf-8")
    path.write_bytes(before.replace(b"1000", b"999"))
    ended = aprqa("register", certified.directory, "--registry", path)
    assert ended.code == 2
    assert "lock" in ended.err
    assert path.read_bytes() == before.replace(b"1000", b"999")
