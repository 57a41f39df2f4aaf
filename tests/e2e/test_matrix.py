"""From the plan to jobs: groups of groups, and a label behind which there is no GPU."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.planning.matrix import MAX_MATRIX_BYTES
from tests.act.double import Double
from tests.act.harness import Run, commit
from tests.e2e.conftest import PLAYBOOK, Consumer, make_consumer

pytestmark = pytest.mark.slow

MATRIX = Path("aprqa_ci/planning/matrix.py")
LIMIT = "MAX_JOBS"
RUNNERS = """\
schema: aprqa-runners/1
runners:
  - {name: hosted, runs_on: ubuntu-latest, backend: cpu, self_hosted: false, memory_gb: 16,
     disk_gb: 14}
  - {name: gpu-24gb, runs_on: [self-hosted, gpu-box], backend: gpu, self_hosted: true,
     memory_gb: 64, vram_gb: 24, disk_gb: 100}
"""


def entries(matrix: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(matrix)["include"]
    return found


def causes(run: Run, artifact: str) -> set[str]:
    records = json.loads((run.artifacts() / artifact / "evidence.json").read_text())
    return {each["metadata"].get("cause", each["outcome"]) for each in records}


def test_every_group_of_shards_runs_and_a_missing_gpu_is_no_verdict(
    action_repository: Path, github: Double, tmp_path: Path
) -> None:
    # With GitHub's own limit it would take 257 shards of one class to make a second group of it.
    action = shutil.copytree(action_repository, tmp_path / "action")
    text = (action / MATRIX).read_text(encoding="utf-8")
    assert f"len(shards) / {LIMIT}" in text
    text = text.replace(f"len(shards) / {LIMIT}", "len(shards) / 1")
    (action / MATRIX).write_text(text, encoding="utf-8")
    commit(action)
    consumer = make_consumer(tmp_path / "consumer", action)
    (consumer.path / ".github/aprqa-runners.yml").write_text(RUNNERS, encoding="utf-8")
    playbook = consumer.path / "playbooks/models/tiny.playbook.yaml"
    playbook.write_text(PLAYBOOK.replace("[cpu]", "[cpu, gpu]"), encoding="utf-8")
    limits = '      target-minutes: "0.01"\n'
    workflow = consumer.workflow("one-model.yml", more=limits)
    inputs = ("playbook=playbooks/models/tiny.playbook.yaml", "tier=smoke", "publish=auto")
    arguments = [text for each in inputs for text in ("--input", each)]
    run = consumer.run(
        tmp_path / "out",
        "workflow_dispatch",
        workflow,
        *arguments,
        *("-P", "gpu-box=-self-hosted"),
        github=github,
        CUDA_VISIBLE_DEVICES="",  # the machine of this test may have one
    )

    groups = entries(run.outputs("plan", "plan", "aprqa")["groups"])
    names = ["g01 hosted", "g02 hosted", "g03 gpu-24gb", "g04 gpu-24gb"]
    assert [each["group"] for each in groups] == names
    planned = [each for group in groups for each in entries(group["matrix"])]
    assert len(planned) == 4
    ran = [path for path, result in run.steps("shard") if path == ("run",) and result == "success"]
    assert len(ran) == 4
    artifacts = {f"evidence-{each['shard']}-a1" for each in planned}
    assert {each.name for each in run.artifacts().glob("evidence-*")} == artifacts

    on_gpu = [each for each in planned if each["runner"] == "gpu-24gb"]
    assert [each["runs-on"] for each in on_gpu] == [["self-hosted", "gpu-box"]] * 2
    for each in planned:
        found = causes(run, f"evidence-{each['shard']}-a1")
        expected = {"infrastructure:preflight-driver"} if each in on_gpu else {"Corroborated"}
        assert found == expected, each
    warnings = [(place["title"], text) for place, text in run.annotations("warning", "shard")]
    for each in on_gpu:
        title = f"Shard {each['shard']}: could not be run on this machine"
        assert any(title == told and "GPU" in text for told, text in warnings), warnings

    assert run.rc == 1
    assert run.step("verdict", "merge") == "failure"
    results = run.outputs("verdict", "merge", "aprqa")
    assert (results["verdict"], results["status"]) == ("inconclusive", "INCONCLUSIVE")
    said = [text for _, text in run.annotations("error", "verdict")]
    assert any("infrastructure:preflight-driver" in text for text in said), said
    assert github.pulls == {}


def test_three_hundred_shards_are_planned_within_githubs_limits(
    consumer: Consumer, tmp_path: Path
) -> None:
    text = PLAYBOOK.replace("[run, chat]", "[run, chat, serve]")
    text = text.replace("[q8_0]", "[f16, q8_0, q4_0]").replace("tier: smoke", "tier: mvp")
    playbooks = consumer.path / "playbooks/models"
    (playbooks / "tiny.playbook.yaml").unlink()
    for number in range(34):
        name = f"name: tiny-{number:02}\n"
        (playbooks / f"tiny-{number:02}.playbook.yaml").write_text(
            text.replace("name: tiny\n", name)
        )
    workflow = consumer.workflow("step-by-step.yml")
    path = consumer.path / workflow
    limits = 'max-shards: "300"\n          target-minutes: "0.001"'
    path.write_text(path.read_text().replace('max-shards: "256"', limits))
    run = consumer.run(tmp_path / "out", "push", workflow, "-j", "plan")
    assert run.rc == 0, run.text()
    planned = run.outputs("plan", "plan", "aprqa")
    assert planned["shard-count"] == "300"
    plan = json.loads((run.artifacts() / "plan/plan.json").read_text())
    for name in ("matrix", "groups"):
        # GitHub counts UTF-16.
        assert 2 * len(planned[name]) <= MAX_MATRIX_BYTES
        inner = [entries(group["matrix"]) for group in entries(planned[name])]
        assert all(len(each) <= 256 for each in inner)
        shards = sorted(each["shard"] for group in inner for each in group)
        assert shards == [each["id"] for each in plan["shards"]]
    cells = sorted(cell for shard in plan["shards"] for cell in shard["cells"])
    assert cells == sorted(each["id"] for each in plan["cells"])
    assert len(cells) == 34 * 9
