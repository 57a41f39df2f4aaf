from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import Bundle

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_drafts_are_printed(aprqa: "Aprqa", blocked: Bundle) -> None:
    ended = aprqa("tickets", blocked.directory)
    assert ended.code == 0
    assert ended.out.startswith("# tiny:")
    assert "Labels: `certification`, `gateway: G1`" in ended.out
    assert "aprqa run " in ended.out


def test_nothing_failed(aprqa: "Aprqa", certified: Bundle) -> None:
    ended = aprqa("tickets", certified.directory)
    assert (ended.code, ended.out) == (0, "nothing failed: there is nothing to draft\n")


def test_without_a_verdict_it_says_what_was_not_tested(
    aprqa: "Aprqa", inconclusive: Bundle, tmp_path: Path
) -> None:
    ended = aprqa("tickets", inconclusive.directory)
    assert ended.code == 0
    assert "nothing failed" not in ended.out
    assert "not everything was tested" in ended.out
    assert "kept 1 scenario from being tested: infrastructure:no-memory" in ended.out
    assert "The run came to no verdict." in ended.out
    written = aprqa("tickets", inconclusive.directory, "-o", tmp_path / "drafts")
    assert "  tiny came to no verdict, which closes no issue" in written.out.splitlines()
    assert "not tested: The machine or the tool kept 1 scenario" in written.out
    assert not (tmp_path / "drafts").exists()


def test_drafts_are_written(aprqa: "Aprqa", blocked: Bundle, tmp_path: Path) -> None:
    ended = aprqa("tickets", blocked.directory / "evidence.json", "-o", tmp_path / "drafts")
    assert ended.code == 0
    (path,) = (tmp_path / "drafts").iterdir()
    assert path.name.startswith("001-g1-load-")
    assert path.read_text("utf-8").startswith("# tiny:")
    (tmp_path / "file").write_text("x")
    assert aprqa("tickets", blocked.directory, "-o", tmp_path / "file" / "x").code == 2


def test_in_a_job_a_draft_gives_no_orders(
    aprqa: "Aprqa", blocked: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for written in ((), ("-o", tmp_path / "drafts")):
        lines = aprqa("tickets", blocked.directory, *written).out.splitlines()
        assert lines[0].startswith("::stop-commands::")
        assert lines[-1] == f"::{lines[0].removeprefix('::stop-commands::')}::"


def test_what_cannot_be_done_is_said(
    aprqa: "Aprqa", blocked: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_REPOSITORY", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for arguments, said in (
        (("--dry-run",), "go with --open"),
        (("--open",), "no repository is named"),
        (("--open", "--repository", "no/such/one"), "is no repository"),
        (("--open", "--repository", "acme/widgets"), "GITHUB_TOKEN is not set"),
    ):
        ended = aprqa("tickets", blocked.directory, *arguments)
        assert ended.code == 2
        assert said in ended.err
    assert aprqa("tickets", "nowhere").code == 2
