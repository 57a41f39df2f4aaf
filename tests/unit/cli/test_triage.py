import json
from pathlib import Path
from typing import TYPE_CHECKING

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, scenario_id

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_a_good_bundle(aprqa: "Aprqa", certified: Bundle) -> None:
    ended = aprqa("triage", certified.directory)
    assert ended.code == 0
    assert "every gateway is passed and nothing failed" in ended.out
    assert "not tested" not in ended.out


def test_what_was_not_tested_is_no_success(aprqa: "Aprqa", tmp_path: Path) -> None:
    skipped = {scenario_id(): Outcome.SKIPPED}
    lost = made_bundle(tmp_path / "b", outcomes=skipped, cause="infrastructure:no-memory").directory
    ended = aprqa("triage", lost)
    assert "every gateway is passed and of what was tested nothing failed" in ended.out
    assert "  not tested: The machine or the tool kept 1 scenario from being tested" in ended.out
    (made,) = json.loads(aprqa("triage", lost, "--json").out)
    assert len(made["not_tested"]) == 1


def test_a_bad_one_is_told_on_the_console_and_as_json(aprqa: "Aprqa", blocked: Bundle) -> None:
    ended = aprqa("triage", blocked.directory)
    assert ended.code == 0
    assert "G1 failed" in ended.out
    assert "  next:     aprqa run " in ended.out
    assert "  recorded: " in ended.out
    (made,) = json.loads(aprqa("triage", blocked.directory / "evidence.json", "--json").out)
    assert made["gateways"][0]["gateway"] == "G1"
    assert made["causes"][0]["quotes"][0]["reason"] == "because"


def test_what_cannot_be_read_is_said(aprqa: "Aprqa", certified: Bundle) -> None:
    assert aprqa("triage", "nowhere").code == 2
    assert aprqa("triage", certified.directory, "--policy", "mine").code == 2
