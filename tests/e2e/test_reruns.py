"""A shard that dies, GitHub's "Re-run failed jobs" after it, and evidence that somebody changed.

act cannot run single jobs of an earlier run again. So a job that is not run again is one here that
hands on the outputs it had, as GitHub does, and the new run begins with the artifacts of the old.
"""

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from aprqa_ci.evidence.journal import JOURNAL_NAME
from tests.act.double import Double, double_of_github
from tests.act.harness import Run, commit
from tests.e2e.conftest import Consumer, make_consumer
from tests.github_double.ghspec import GitHubSpec

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("reruns")]

WORKFLOW = ".github/workflows/step-by-step.yml"


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


@pytest.fixture(scope="module")
def pipeline(
    action_repository: Path, description: GitHubSpec, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    root = tmp_path_factory.mktemp("reruns")
    consumer = make_consumer(root / "consumer", action_repository)
    consumer.workflow("step-by-step.yml")
    with double_of_github(root / "github", description) as github:
        yield Pipeline(consumer=consumer, github=github, root=root)


@pytest.fixture(scope="module")
def died(pipeline: Pipeline) -> Run:
    return pipeline.first()


@pytest.fixture(scope="module")
def mended(pipeline: Pipeline, died: Run) -> Run:
    """The second attempt: what failed, and the verdict after it."""
    assert pipeline.github.pulls == {}
    planned = died.outputs("plan", "plan", "aprqa")
    failed = [each for each in json.loads(planned["matrix"])["include"] if each["shard"] == "s002"]
    planned["matrix"] = json.dumps({"include": failed})
    return pipeline.again(2, died.artifacts(), planned, shards=True)


def verdict_of(run: Run) -> dict[str, str]:
    return run.outputs("verdict", "merge", "aprqa")


def test_a_shard_that_died_leaves_no_verdict(died: Run) -> None:
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


def test_running_it_again_gives_the_verdict(mended: Run, pipeline: Pipeline) -> None:
    assert mended.rc == 0, mended.text()
    assert mended.step("shard", "run") == "success"
    evidence = {each.name for each in mended.artifacts().glob("evidence-*")}
    assert evidence == {"evidence-s001-a1", "evidence-s002-a1", "evidence-s002-a2"}
    assert verdict_of(mended)["verdict"] == "good"
    assert list(pipeline.github.pulls) == ["aprqa/certify/tiny"]


def test_the_same_publish_twice_changes_nothing(
    died: Run, mended: Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    github = pipeline.github
    head = github.repo.branch("aprqa/certify/tiny")
    github.hub.log.clear()
    artifacts = shutil.copytree(mended.artifacts(), tmp_path / "artifacts")
    shutil.rmtree(artifacts / "certification-a2")
    run = pipeline.again(3, artifacts, died.outputs("plan", "plan", "aprqa"))
    assert run.rc == 0, run.text()
    assert verdict_of(run) == {**verdict_of(mended), "pr-number": "1"}
    assert "pull request #1 unchanged" in run.text("verdict")
    # Git objects are what they hold: making them again makes nothing.
    assert {each.rsplit("/", 1)[1] for each in github.writes} <= {"blobs", "trees"}
    assert github.repo.branch("aprqa/certify/tiny") == head
    for name in ("certificate.json", "evidence.json"):
        first, second = (
            (each.artifacts() / f"certification-a{number}" / "tiny" / name).read_bytes()
            for each, number in ((mended, 2), (run, 3))
        )
        assert first == second, name


def test_changed_evidence_is_refused_and_named(
    died: Run, mended: Run, pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.github.hub.log.clear()
    artifacts = shutil.copytree(mended.artifacts(), tmp_path / "artifacts")
    evidence = artifacts / "evidence-s001-a1/evidence.json"
    text = evidence.read_text(encoding="utf-8")
    assert '"Corroborated"' in text
    evidence.write_text(text.replace('"Corroborated"', '"Falsified"', 1), encoding="utf-8")
    run = pipeline.again(4, artifacts, died.outputs("plan", "plan", "aprqa"))
    assert run.rc == 1
    assert run.step("verdict", "merge") == "failure"
    assert verdict_of(run) == {}
    ((place, said),) = run.annotations("error", "verdict")
    assert place["file"].endswith("evidence-s001-a1/evidence.json")
    assert "not the one that the manifest names" in said
    assert not (run.artifacts() / "certification-a4").exists()
    assert pipeline.github.hub.log == []
