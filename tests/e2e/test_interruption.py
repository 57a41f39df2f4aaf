"""``aprqa certify`` interrupted in every way: records are kept and ``--resume`` completes them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.evidence.journal import JOURNAL_NAME, read_journal
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from tests.processes import until, workers_started_by
from tests.tiny_llama import write_tiny_llama

ROOT = Path(__file__).parents[2]
NAME = "tiny-interrupted"
PLAYBOOK = f"""
name: {NAME}
version: "1.0.0"
model:
  hf_repo: aprqa/tiny
  local_path: model
  formats: [safetensors, gguf]
  quantizations: [f16]
  size_category: tiny
test_matrix:
  modalities: [run, chat]
  backends: [cpu]
  scenario_count: 12
  timeout_ms: 20000
failure_policy: collect_all
"""
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model and its playbook; not to be changed."""
    root = tmp_path_factory.mktemp("interrupted")
    model = write_tiny_llama(root / "model", config={"max_position_embeddings": 1024})
    convert_safetensors_to_gguf(model, model / "tiny-f16.gguf", "f16")
    (root / f"{NAME}.playbook.yaml").write_text(PLAYBOOK, encoding="utf-8")
    return root


@pytest.fixture
def start(place: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts ``aprqa certify``; the bundle goes to the test's own directory."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*options: str, **settings: Any) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "aprqa_ci", "certify", f"{NAME}.playbook.yaml"),
                *("--tier", "mvp", "--no-register", "--out", str(tmp_path), *options),
            ],
            cwd=place,
            env=dict(os.environ) | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _lines(tmp_path: Path) -> int:
    try:
        return (tmp_path / NAME / JOURNAL_NAME).read_bytes().count(b"\n")
    except OSError:
        return 0


def _outcomes(records: tuple[EvidenceRecord, ...]) -> dict[str, tuple[str, str]]:
    return {
        str(record.metadata[MetadataKey.SCENARIO]): (record.id, record.timestamp)
        for record in records
    }


def _resume_and_compare(
    start: Start, tmp_path: Path, kept: tuple[EvidenceRecord, ...], *options: str
) -> None:
    """Let the run be completed, and see every scenario once and the kept ones unchanged."""
    resumed = start("--resume", *options)
    out, err = resumed.communicate(timeout=120)
    # A random model earns no certificate, but a verdict.
    assert resumed.returncode == 1, (out, err)
    directory = tmp_path / NAME
    plan = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    planned = [scenario["id"] for cell in plan["cells"] for scenario in cell["scenarios"]]
    evidence = read_evidence(directory / "evidence.json")
    found = [str(record.metadata[MetadataKey.SCENARIO]) for record in evidence]
    assert Counter(found) == Counter(planned)
    after = _outcomes(evidence)
    before = _outcomes(kept)
    assert {name: after[name] for name in before} == before
    assert not (directory / JOURNAL_NAME).exists()
    assert not any(
        str(record.meta(MetadataKey.CAUSE) or "").startswith("infrastructure")
        for record in evidence
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        (signal.SIGINT, 130, b"interrupted"),
        (signal.SIGTERM, 143, b"terminated"),
        (signal.SIGKILL, -9, b""),
    ],
)
def test_an_interrupted_run_is_completed_later(
    start: Start, tmp_path: Path, number: signal.Signals, code: int, word: bytes
) -> None:
    workers = ("--workers", "2") if number is not signal.SIGTERM else ()
    process = start(*workers)
    assert until(lambda: _lines(tmp_path) >= 30 or process.poll() is not None, 60)
    before = _lines(tmp_path)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, (out, err)
    assert until(lambda: not workers_started_by(process.pid), 5)
    assert b"Traceback" not in err
    assert word in err
    assert b"--resume" in err or not word
    assert not (tmp_path / NAME / "evidence.json").exists()
    journal = read_journal(tmp_path / NAME / JOURNAL_NAME)
    # The first line is the head; digests have lines of their own.
    kept = len(journal.records) + 1 + sum(len(each) for each in journal.digests.values())
    assert kept >= before
    assert {str(record.outcome) for record in journal.records} <= {
        "Corroborated",
        "Falsified",
        "Skipped",
    }
    assert not any(
        record.meta(MetadataKey.CAUSE) == "infrastructure:machine" for record in journal.records
    )
    _resume_and_compare(start, tmp_path, journal.records, *workers)


def test_impatience_does_not_cut_the_ending_short(start: Start, tmp_path: Path) -> None:
    process = start()
    assert until(lambda: _lines(tmp_path) >= 15 or process.poll() is not None, 60)
    for pid in workers_started_by(process.pid):
        os.kill(pid, signal.SIGSTOP)
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert until(lambda: not workers_started_by(process.pid), 5)
    assert len(read_journal(tmp_path / NAME / JOURNAL_NAME).records) >= 10


def test_a_torn_last_line_is_left_out_and_done_again(start: Start, tmp_path: Path) -> None:
    process = start()
    assert until(lambda: _lines(tmp_path) >= 15 or process.poll() is not None, 60)
    process.kill()
    process.communicate()
    path = tmp_path / NAME / JOURNAL_NAME
    journal = read_journal(path)
    # As a machine leaves it that lost power in the middle of a write.
    path.write_bytes(path.read_bytes()[:-20])
    torn = read_journal(path)
    assert torn.records == journal.records[:-1]
    _resume_and_compare(start, tmp_path, torn.records, "--workers", "2")
