"""The example workflows, run for real and without a network: from a model to what is published."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.act.double import Double
from tests.act.harness import Run, git
from tests.e2e.conftest import Consumer

pytestmark = pytest.mark.slow

TWO_SHARDS = '      target-minutes: "0.01"\n      max-shards: "2"\n'


def manifest(run: Run, artifact: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((run.artifacts() / artifact / "manifest.json").read_text())
    return told


def test_a_model_is_certified_by_hand_and_proposed(
    consumer: Consumer, github: Double, tmp_path: Path
) -> None:
    workflow = consumer.workflow("one-model.yml", more=TWO_SHARDS)
    inputs = ("playbook=playbooks/models/tiny.playbook.yaml", "tier=smoke", "publish=auto")
    arguments = [text for each in inputs for text in ("--input", each)]
    run = consumer.run(tmp_path / "out", "workflow_dispatch", workflow, *arguments, github=github)
    assert run.rc == 0, run.text()
    planned = run.outputs("plan", "plan", "aprqa")
    assert planned["shard-count"] == "2"
    for shard in ("s001", "s002"):
        assert run.step("shard", "run", shard=shard) == "success"
        told = manifest(run, f"evidence-{shard}-a1")
        assert (told["exit"], told["shard"]) == (0, shard)
        assert told["plan_digest"] == planned["plan-digest"]
    results = run.outputs("verdict", "merge", "aprqa")
    assert (results["verdict"], results["status"], results["pr-number"]) == (
        "good",
        "PROVISIONAL",
        "1",
    )
    assert "tiny" in run.summary("verdict")
    assert list(github.pulls) == ["aprqa/certify/tiny"]
    proposed = github.repo.git("show", "aprqa/certify/tiny:docs/certifications/models.csv")
    assert "example/tiny" in proposed


def test_a_damaged_model_falls_short(consumer: Consumer, github: Double, tmp_path: Path) -> None:
    weights = consumer.path / "models/tiny/aprqa-tiny-q8_0.gguf"
    weights.write_bytes(weights.read_bytes()[:100_000])
    workflow = consumer.workflow("step-by-step.yml")
    run = consumer.run(tmp_path / "out", "push", workflow, github=github)
    assert run.rc == 1
    # The shards did their work; that it speaks against the model is for the verdict to say.
    assert run.step("shard", "run") == "success"
    assert run.step("verdict", "merge") == "failure"
    results = run.outputs("verdict", "merge", "aprqa")
    assert (results["verdict"], results["status"], results["mqs"]) == ("fell_short", "BLOCKED", "0")
    errors = run.annotations("error", "verdict")
    assert any(
        place.get("file") == "playbooks/models/tiny.playbook.yaml" and "BLOCKED" in place["title"]
        for place, _ in errors
    ), errors
    assert ["BLOCKED" in title for title in github.pulls.values()] == [True]


def test_shards_that_never_ran_are_no_verdict(
    consumer: Consumer, github: Double, tmp_path: Path
) -> None:
    runners = consumer.path / ".github/aprqa-runners.yml"
    runners.write_text(
        "schema: aprqa-runners/1\nrunners:\n"
        "  - {name: away, runs_on: nowhere, backend: cpu, self_hosted: true,"
        " memory_gb: 16, disk_gb: 14}\n"
    )
    workflow = consumer.workflow("step-by-step.yml")
    run = consumer.run(tmp_path / "out", "push", workflow, github=github)
    assert not run.steps("shard")
    assert run.rc == 1  # act's own word for a failed job
    assert run.step("verdict", "merge") == "failure"
    results = run.outputs("verdict", "merge", "aprqa")
    assert results["verdict"] == "inconclusive"
    assert any("s001" in text for _, text in run.annotations("error", "verdict"))
    assert github.pulls == {}


def test_a_fork_is_reported_as_unverified(
    consumer: Consumer, github: Double, tmp_path: Path
) -> None:
    base = git(consumer.path, "rev-parse", "HEAD").strip()
    workflow = consumer.workflow("pull-request.yml")
    report = consumer.workflow("report-forks.yml")
    head = git(consumer.path, "rev-parse", "HEAD").strip()
    fork = {"full_name": "mallory/consumer"}
    own = {"full_name": "octo/consumer", "default_branch": "main"}
    pull = {
        "number": 1,
        "head": {"sha": head, "ref": "patch", "repo": fork},
        "base": {"sha": base, "ref": "main", "repo": own},
    }
    run = consumer.run(
        tmp_path / "fork",
        "pull_request",
        workflow,
        payload={"action": "opened", "repository": own, "pull_request": pull},
    )
    assert run.rc == 0, run.text()
    assert "published nothing" in run.text("verdict")
    ended = {
        "id": 42,
        "event": "pull_request",
        "head_sha": head,
        "head_branch": "patch",
        "conclusion": "success",
        "head_repository": fork,
    }
    github.take(consumer.path, {})
    github.hub.add_pull(github.repo, fork="mallory/consumer", head="patch", sha=head)
    reported = consumer.run(
        tmp_path / "report",
        "workflow_run",
        report,
        payload={"action": "completed", "repository": own, "workflow_run": ended},
        github=github,
        SEED=str(run.artifacts()),
    )
    assert reported.rc == 0, reported.text()
    assert reported.step("comment", "report") == "success"
    (comment,) = github.comments
    assert "nverified" in comment
    assert "tiny" in comment
    assert list(github.pulls) == ["patch"]
