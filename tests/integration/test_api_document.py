"""The examples of docs/api.md, run in their order on a tiny model."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import aprqa_ci
from tests.playbooks import playbook_data

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_every_public_name_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", TEXT)) | set(re.findall(r"aprqa_ci\.(\w+)", TEXT))
    assert set(aprqa_ci.__all__) <= described


def test_the_examples_run(
    tmp_path: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = playbook_data(
        "tiny-quick",
        model={"local_path": str(tiny_llama)},
        test_matrix={"modalities": ["run", "chat"]},
        failure_policy="collect_all",
    )
    (tmp_path / "tiny.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    names: dict[str, Any] = {}
    assert len(BLOCKS) >= 6
    for block in BLOCKS:
        exec(compile(block, "docs/api.md", "exec"), names)  # noqa: S102 - our own examples
    said = capsys.readouterr().out
    assert "BLOCKED" in said
    assert "org/tiny []" in said
    assert "('status', 'BLOCKED')" in said
    assert said.endswith(f"{aprqa_ci.__version__}\n")
    assert {path.name for path in (tmp_path / "reports").iterdir()} == {
        "report.md",
        "report.json",
        "junit.xml",
    }
