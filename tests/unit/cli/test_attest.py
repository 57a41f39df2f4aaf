import json
from pathlib import Path

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.files import sha256_file
from tests.unit.cli.conftest import Aprqa


def test_a_statement_is_printed(aprqa: Aprqa, certified: Bundle) -> None:
    ended = aprqa("attest", certified.directory, "--url", "https://example.org/run/1")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert told["predicate"]["result"] == "PASSED"
    assert told["predicate"]["url"] == "https://example.org/run/1"
    digest = sha256_file(certified.directory / "evidence.json")
    assert {"name": "evidence.json", "digest": {"sha256": digest}} in told["subject"]


def test_a_statement_is_written(aprqa: Aprqa, blocked: Bundle, tmp_path: Path) -> None:
    ended = aprqa("attest", blocked.directory, "-o", "out/statement.json")
    assert ended.code == 0
    assert "wrote out/statement.json" in ended.out
    told = json.loads((tmp_path / "out" / "statement.json").read_bytes())
    assert told["predicate"]["result"] == "FAILED"


def test_without_a_verdict_there_is_no_statement(
    aprqa: Aprqa, inconclusive: Bundle, tmp_path: Path
) -> None:
    ended = aprqa("attest", inconclusive.directory, "-o", "statement.json")
    assert ended.code == 3
    assert "nothing is attested" in ended.err
    assert not (tmp_path / "statement.json").exists()


def test_a_certificate_that_its_evidence_does_not_give_is_not_stated(
    aprqa: Aprqa, blocked: Bundle
) -> None:
    path = blocked.directory / "certificate.json"
    path.write_bytes(path.read_bytes().replace(b'"BLOCKED"', b'"CERTIFIED"'))
    ended = aprqa("attest", blocked.directory)
    assert (ended.code, ended.out) == (2, "")


def test_a_place_that_cannot_be_written_is_said(
    aprqa: Aprqa, certified: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    ended = aprqa("attest", certified.directory, "-o", "file/statement.json")
    assert ended.code == 2
    assert "cannot be written" in ended.err
