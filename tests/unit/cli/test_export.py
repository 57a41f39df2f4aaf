import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.evidence.reading import read_evidence

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_each_format_is_written(aprqa: "Aprqa", blocked: Bundle, tmp_path: Path) -> None:
    records = read_evidence(blocked.directory / "evidence.json")
    ended = aprqa("export", blocked.directory, "--to", "csv", "-o", tmp_path / "e.csv")
    assert (ended.code, ended.out) == (0, f"  wrote {tmp_path / 'e.csv'}\n")
    with (tmp_path / "e.csv").open(newline="", encoding="utf-8") as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == [record.id for record in records]
    evidence = blocked.directory / "evidence.json"
    assert aprqa("export", evidence, "--to", "json", "-o", tmp_path / "sub" / "e.json").code == 0
    value = json.loads((tmp_path / "sub" / "e.json").read_text("utf-8"))
    assert value["total_scenarios"] == len(records)
    # What was exported is evidence as well.
    again = aprqa("export", tmp_path / "sub" / "e.json", "--to", "csv", "-o", tmp_path / "f.csv")
    assert again.code == 0
    assert (tmp_path / "f.csv").read_bytes() == (tmp_path / "e.csv").read_bytes()


def test_parquet(
    aprqa: "Aprqa", blocked: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "e.parquet"
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pyarrow.parquet", None)
        ended = aprqa("export", blocked.directory, "--to", "parquet", "-o", target)
        assert ended.code == 2
        assert "pip install 'aprqa-ci[parquet]'" in ended.err
        assert not target.exists()
    pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    assert aprqa("export", blocked.directory, "--to", "parquet", "-o", target).code == 0
    assert target.read_bytes().startswith(b"PAR1")


def test_what_cannot_be_done_is_said(aprqa: "Aprqa", blocked: Bundle, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    ended = aprqa("export", blocked.directory, "--to", "csv", "-o", tmp_path / "file" / "e.csv")
    assert ended.code == 2
    assert "cannot write the file" in ended.err
    (tmp_path / "bad.json").write_text('[{"id": 1}]')
    target = tmp_path / "e.csv"
    target.write_text("old")
    assert aprqa("export", tmp_path / "bad.json", "--to", "csv", "-o", target).code == 2
    assert target.read_text() == "old"
    assert aprqa("export", blocked.directory, "-o", target).code == 2
