"""A job that is cancelled: the runner signals the tool, which must leave what it knows."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aprqa_ci.evidence.journal import JOURNAL_NAME
from aprqa_ci.evidence.merging import read_shard

ROOT = Path(__file__).resolve().parents[3]
PLAYBOOK = ROOT / "playbooks" / "models" / "aprqa-tiny-quick.playbook.yaml"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_cancelled_shard_leaves_what_it_knows(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    playbook = tmp_path / "tiny.playbook.yaml"
    text = PLAYBOOK.read_text(encoding="utf-8")
    # Long enough to be still at it when the signal comes.
    text = text.replace("scenario_count: 5", "scenario_count: 1000")
    text = text.replace("../../aprqa_ci/data/models", str(ROOT / "aprqa_ci/data/models"))
    playbook.write_text(text, encoding="utf-8")
    event = tmp_path / "event.json"
    event.write_text(json.dumps({}))
    environment = {
        **os.environ,
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_REPOSITORY": "org/repo",
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": "a" * 40,
        "GITHUB_ACTOR": "someone",
        "GITHUB_RUN_ID": "77",
        "INPUT_PLAYBOOKS": str(playbook),
    }
    environment.pop("GITHUB_OUTPUT", None)
    command = [sys.executable, "-m", "aprqa_ci", "action"]
    planned = subprocess.run(
        command, cwd=tmp_path, env={**environment, "INPUT_COMMAND": "plan"}, check=False
    )
    assert planned.returncode == 0
    environment = {**environment, "INPUT_PLAYBOOKS": "", "INPUT_SHARD": "s001"}
    running = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**environment, "INPUT_COMMAND": "run"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        journal = tmp_path / "aprqa-out" / "shard" / JOURNAL_NAME
        deadline = time.monotonic() + 120
        while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
            assert running.poll() is None, running.stdout and running.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        running.send_signal(number)
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == code, out
    assert "did not come to its end" in out
    shard = read_shard(journal.parent)
    assert shard.manifest.exit == code
    assert shard.records
