from pathlib import Path

import pytest

from aprqa_ci.execution.formats import json_files
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.weights import FormatError


def test_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"é": [1]}', encoding="utf-8")
    assert read_json_object(path) == {"é": [1]}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff\xff", "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
        (b"[]", "not a JSON object"),
    ],
)
def test_anything_else_is_a_format_error(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=what):
        read_json_object(path)


def test_missing_and_oversize_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_json_object(tmp_path / "none.json")
    path = tmp_path / "a.json"
    path.write_text("{}      ", encoding="utf-8")
    monkeypatch.setattr(json_files, "MAX_JSON_BYTES", 4)
    with pytest.raises(FormatError, match="larger than 4 bytes"):
        read_json_object(path)
