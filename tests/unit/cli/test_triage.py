import json
from typing import TYPE_CHECKING

from aprqa_ci.certification.bundle import Bundle

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_a_good_bundle(aprqa: "Aprqa", certified: Bundle) -> None:
    ended = aprqa("triage", certified.directory)
    assert ended.code == 0
    assert "every gateway is passed and nothing failed" in ended.out


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
