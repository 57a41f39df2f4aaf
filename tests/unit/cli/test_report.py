import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from aprqa_ci.certification.bundle import Bundle

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

NAMES = ("report.json", "report.md", "junit.xml")


def test_three_reports_are_written_into_the_bundle(aprqa: "Aprqa", blocked: Bundle) -> None:
    ended = aprqa("report", blocked.directory)
    assert ended.code == 0
    wrote = {line.removeprefix("  wrote ").strip() for line in ended.out.splitlines()}
    assert wrote == {str(blocked.directory / name) for name in NAMES}
    assert "BLOCKED" in (blocked.directory / "report.md").read_text(encoding="utf-8")
    assert json.loads((blocked.directory / "report.json").read_bytes())["schema"]
    suite = ET.parse(blocked.directory / "junit.xml").getroot()  # noqa: S314 - ours
    assert int(suite.attrib["failures"]) == 1


def test_reports_go_where_they_are_sent(aprqa: "Aprqa", certified: Bundle, tmp_path: Path) -> None:
    before = sorted(certified.directory.iterdir())
    assert aprqa("report", certified.directory, "-o", "out/reports").code == 0
    assert {path.name for path in (tmp_path / "out" / "reports").iterdir()} == set(NAMES)
    assert sorted(certified.directory.iterdir()) == before


def test_a_certificate_that_its_evidence_does_not_give_is_not_reported(
    aprqa: "Aprqa", blocked: Bundle
) -> None:
    path = blocked.directory / "certificate.json"
    path.write_bytes(path.read_bytes().replace(b'"BLOCKED"', b'"CERTIFIED"'))
    ended = aprqa("report", blocked.directory)
    assert ended.code == 2
    assert "the certificate's status is 'CERTIFIED', the evidence gives 'BLOCKED'" in ended.err
    assert not (blocked.directory / "report.md").exists()
