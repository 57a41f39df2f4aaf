"""The scripts of the certification guide, run as a shell runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.planning.test_family_contract import CONTRACT

_SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture
def aprqa(tmp_path: Path) -> Path:
    path = tmp_path / "bin" / "aprqa"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aprqa_ci "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def _run(script: str, *arguments: str, aprqa: Path) -> subprocess.CompletedProcess[str]:
    root = str(_SCRIPTS.parent)
    environment = {**os.environ, "APRQA": str(aprqa), "PYTHONPATH": root}
    return subprocess.run(
        [str(_SCRIPTS / script), *arguments],
        cwd=aprqa.parent.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_schemas_of_a_new_repository_and_of_a_damaged_one(tmp_path: Path, aprqa: Path) -> None:
    registry = tmp_path / "docs" / "certifications" / "models.csv"
    registry.parent.mkdir(parents=True)
    shipped = _SCRIPTS.parent / "docs" / "certifications" / "models.csv"
    registry.write_bytes(shipped.read_bytes())
    ended = _run("validate-schemas.sh", aprqa=aprqa)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1 file valid\n", "")
    evidence = tmp_path / "certifications" / "m" / "evidence.json"
    evidence.parent.mkdir(parents=True)
    evidence.write_text('[{"id": 1}]', encoding="utf-8")
    ended = _run("validate-schemas.sh", aprqa=aprqa)
    assert ended.returncode == 2
    assert "certifications/m/evidence.json" in ended.stderr


def test_alignment_and_the_notice_without_aprender(tmp_path: Path, aprqa: Path) -> None:
    ended = _run("validate-aprender-alignment.sh", str(tmp_path / "nowhere"), aprqa=aprqa)
    assert ended.returncode == 2
    assert "nowhere: there is no such folder" in ended.stderr
    contracts = tmp_path / "aprender" / "contracts" / "model-families"
    contracts.mkdir(parents=True)
    (contracts / "acme.yaml").write_text(CONTRACT, encoding="utf-8")
    playbooks = tmp_path / "playbooks" / "models"
    playbooks.mkdir(parents=True)
    shipped = _SCRIPTS.parent / "playbooks" / "models" / "aprqa-tiny-quick.playbook.yaml"
    (playbooks / "x.playbook.yaml").write_bytes(shipped.read_bytes())
    ended = _run("validate-aprender-alignment.sh", "aprender", aprqa=aprqa)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "0 compared, 0 contradictions, 1 without a contract" in ended.stdout
