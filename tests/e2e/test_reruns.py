"""A shard that dies, GitHub's "Re-run failed jobs" after it, and evidence that somebody changed.

act cannot run single jobs of an earlier run again. So a job that is not run again is one here that
hands on the outputs it had, as GitHub does, and the new run begins with the artifacts of the old.
"""

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from aprqa_ci.evidence.journal import JOURNAL_NAME
from tests.act.double import Double
from tests.act.harness import Run, commit
from tests.e2e.conftest import Consumer

pytestmark = pytest.mark.slow

WORKFLOW = ".github/workflows/step-by-step.yml"
BRANCH = "aprqa/certify/tiny"


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The runs of one workflow, attempt after attempt."""

    consumer: Consumer
    github: Double
    root: Path

    def first(self) -> Run:
        """Run all of it; the shard s002 is killed in the middle of its work."""
        text = (self.consumer.path / WORKFLOW).read_text(encoding="utf-8")
        text = text.replace(
            'max-shards: "256"', 'max-shards: "2"\n          target-minutes: "0.01"'
        )
        (self.consumer.path / WORKFLOW).write_text(text, encoding="utf-8")
        commit(self.consumer.path)
        with ThreadPoolExecutor(1) as beside:
            killed = beside.submit(kill_shard, "s002", below=self.root / "a1")
            run = self.consumer.run(self.root / "a1", "push", WORKFLOW, github=self.github)
            killed.result()
        return run

    def again(
        self, attempt: int, artifacts: Path, planned: dict[str, str], *, shards: bool = False
    ) -> Run:
        """Run the verdict again and, if asked for, the shards of the planned matrix."""
        text = (self.consumer.path / WORKFLOW).read_text(encoding="utf-8")
        # YAML 1.1 takes the key `on` for a truth value.
        workflow: dict[str, Any] = yaml.safe_load(text.replace("\non:\n", '\n"on":\n'))
        kept: dict[str, Any] = {"runs-on": "ubuntu-latest", "permissions": {}}
        kept["steps"] = [{"run": "true"}]
        jobs = workflow["jobs"]
        jobs["plan"] = {
            **kept,
            "outputs": {name: planned[name] for name in jobs["plan"]["outputs"]},
        }
        if not shards:
            jobs["shard"] = kept
        path = f".github/workflows/attempt-{attempt}.yml"
        (self.consumer.path / path).write_text(yaml.safe_dump(workflow), encoding="utf-8")
        return self.consumer.run(
            self.root / f"a{attempt}",
            "push",
            path,
            github=self.github,
            SEED=str(artifacts),
            RUN_ATTEMPT=str(attempt),
        )


def kill_shard(shard: str, *, below: Path) -> None:
    """Kill the tool that runs a shard once it has recorded, as the kernel does for memory."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_tool = b"aprqa_ci\0action" in (process / "cmdline").read_bytes()
                variables = (process / "environ").read_bytes().split(b"\0") if is_tool else ()
                place = (process / "cwd").readlink() if is_tool else Path("/")
            except OSError:
                continue  # it has ended
            if f"INPUT_SHARD={shard}".encode() not in variables or not place.is_relative_to(below):
                continue
            journal = place / "aprqa-out/shard" / JOURNAL_NAME
            if journal.exists() and journal.read_bytes().count(b"\n") > 1:
                os.kill(int(process.name), signal.SIGKILL)
                return
        time.sleep(0.02)
    raise AssertionError


def verdict_of(run: Run) -> dict[str, str]:
    # What is to be attested names the attempt, which is another one in every run.
    return {
        name: value
        for name, value in run.outputs("verdict", "merge", "aprqa").items()
        if name != "attest"
    }


def test_a_shard_that_dies_is_run_again_and_counts_once(
    consumer: Consumer, github: Double, tmp_path: Path
) -> None:
    consumer.workflow("step-by-step.yml")
    pipeline = Pipeline(consumer=consumer, github=github, root=tmp_path)
    died = pipeline.first()
    planned = died.outputs("plan", "plan", "aprqa")
    it_leaves_no_verdict(died)
    assert github.pulls == {}

    failed = [each for each in json.loads(planned["matrix"])["include"] if each["shard"] == "s002"]
    matrix = json.dumps({"include": failed})
    mended = pipeline.again(2, died.artifacts(), {**planned, "matrix": matrix}, shards=True)
    the_second_attempt_gives_the_verdict(mended)
    assert list(github.pulls) == [BRANCH]

    head = github.repo.branch(BRANCH)
    github.hub.log.clear()
    artifacts = shutil.copytree(mended.artifacts(), tmp_path / "artifacts")
    shutil.rmtree(artifacts / "certification-a2")
    third = pipeline.again(3, artifacts, planned)
    the_same_publish_changes_nothing(mended, third)
    # Git objects are what they hold: making them again makes nothing.
    assert {each.rsplit("/", 1)[1] for each in github.writes} <= {"blobs", "trees"}
    assert github.repo.branch(BRANCH) == head
    assert list(github.pulls) == [BRANCH]

    github.hub.log.clear()
    evidence = artifacts / "evidence-s001-a1/evidence.json"
    text = evidence.read_text(encoding="utf-8")
    assert '"Corroborated"' in text
    evidence.write_text(text.replace('"Corroborated"', '"Falsified"', 1), encoding="utf-8")
    changed_evidence_is_refused(pipeline.again(4, artifacts, planned))
    assert github.hub.log == []


def it_leaves_no_verdict(died: Run) -> None:
    assert died.step("shard", "run", shard="s001") == "success"
    assert died.step("shard", "run", shard="s002") == "failure"
    left = died.artifacts() / "evidence-s002-a1"
    assert {each.name for each in left.iterdir()} == {JOURNAL_NAME}
    assert died.rc == 1
    assert died.step("verdict", "merge") == "failure"
    assert verdict_of(died)["verdict"] == "inconclusive"
    said = [text for _, text in died.annotations("error", "verdict")]
    assert any("evidence-s002-a1" in text for text in said), said
    assert "no pull request: the run is inconclusive" in died.text("verdict")


def the_second_attempt_gives_the_verdict(mended: Run) -> None:
    assert mended.rc == 0, mended.text()
    assert mended.step("shard", "run") == "success"
    evidence = {each.name for each in mended.artifacts().glob("evidence-*")}
    assert evidence == {"evidence-s001-a1", "evidence-s002-a1", "evidence-s002-a2"}
    assert verdict_of(mended)["verdict"] == "good"
    assert "evidence-s002-a1 died without a manifest; a later attempt" in mended.text("verdict")
    assert mended.annotations("error", "verdict") == []


def the_same_publish_changes_nothing(first: Run, second: Run) -> None:
    assert second.rc == 0, second.text()
    assert verdict_of(second) == verdict_of(first)
    assert "pull request #1 unchanged" in second.text("verdict")
    for name in ("certificate.json", "evidence.json"):
        once, twice = (
            (run.artifacts() / f"certification-a{attempt}" / "tiny" / name).read_bytes()
            for run, attempt in ((first, 2), (second, 3))
        )
        assert once == twice, name


def changed_evidence_is_refused(run: Run) -> None:
    assert run.rc == 1
    assert run.step("verdict", "merge") == "failure"
    assert verdict_of(run) == {}
    ((place, said),) = run.annotations("error", "verdict")
    assert place["file"].endswith("evidence-s001-a1/evidence.json")
    assert "not the one that the manifest names" in said
    assert not (run.artifacts() / "certification-a4").exists()
