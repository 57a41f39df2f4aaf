import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.certification.bundle import ACCEPTED_NAME, Bundle, read_plan
from aprqa_ci.planning.plan import plan_digest
from tests.playbooks import playbook_data

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_a_plan_is_written(aprqa: "Aprqa", playbook: Path, tmp_path: Path) -> None:
    ended = aprqa("plan", playbook, "-o", "out/plan.json", "--tier", "quick")
    plan = read_plan(tmp_path / "out" / "plan.json")
    assert ended.code == 0
    total = sum(len(cell.scenarios) for cell in plan.cells)
    assert ended.out.splitlines() == [
        f"1 playbooks, 1 cells, {total} scenarios, 1 shards; digest {plan_digest(plan)[:12]}",
        f"  s001: 1 cells, {plan.shards[0].expected_seconds:g} s",
        "  wrote out/plan.json",
    ]


def test_ids_are_listed_and_nothing_is_written(
    aprqa: "Aprqa", playbook: Path, tmp_path: Path
) -> None:
    ended = aprqa("plan", playbook, "--print", "--tier", "quick")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert lines[0] == "tiny:run-cpu-safetensors"
    assert lines[1] == "  tiny:run-cpu-safetensors#G0-DIGEST-001"
    assert "  tiny:run-cpu-safetensors#001" in lines
    assert sorted(tmp_path.iterdir()) == [playbook]


def test_gates_of_the_playbook_are_listed(aprqa: "Aprqa", tmp_path: Path) -> None:
    gate = {"id": "G1-LOAD", "description": "d", "condition": "loaded"}
    data = playbook_data(falsification_gates=[gate])
    (tmp_path / "x.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    assert aprqa("plan", ".", "--print").out.splitlines()[-1] == "tiny#G1-LOAD"


def test_a_plan_is_packed_into_shards(aprqa: "Aprqa", tmp_path: Path) -> None:
    data = playbook_data(test_matrix={"modalities": ["run", "chat", "serve"]})
    (tmp_path / "x.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    ended = aprqa("plan", ".", "--shards", "2", "-o", "plan.json")
    assert ended.code == 0
    assert [shard.id for shard in read_plan(tmp_path / "plan.json").shards] == ["s001", "s002"]


def test_only_and_backend_narrow(aprqa: "Aprqa", tmp_path: Path) -> None:
    data = playbook_data(test_matrix={"modalities": ["run", "chat"], "backends": ["cpu", "gpu"]})
    (tmp_path / "x.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    ended = aprqa(
        "plan", ".", "--only", "run-*", "--backend", "gpu", "--engine", "reference", "-o", "p.json"
    )
    assert ended.code == 0
    plan = read_plan(tmp_path / "p.json")
    assert [(cell.id, cell.engine) for cell in plan.cells] == [
        ("tiny:run-gpu-safetensors", "reference")
    ]
    assert plan.playbooks[0].narrowed


def test_earlier_certificates_are_compared_with(
    aprqa: "Aprqa", playbook: Path, tmp_path: Path, certified: Bundle
) -> None:
    accepted = tmp_path / "past" / "tiny" / ACCEPTED_NAME
    accepted.parent.mkdir(parents=True)
    (certified.directory / ACCEPTED_NAME).rename(accepted)
    ended = aprqa("plan", playbook, "--print", "--certifications", "past")
    assert "  tiny:run-cpu-safetensors#F-REGR-BASELINE-001" in ended.out.splitlines()
    assert "F-REGR-BASELINE-001" not in aprqa("plan", playbook, "--print").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: nothing to do: give -o FILE to write the plan, or --print to list its ids"),
        (["--print", "--tier", "quik"], "perhaps 'quick' is meant"),
        (["--print", "--only", "*:rnu-*"], "error: '*:rnu-*' matches no cell"),
        (["--print", "--backend", "gpu"], "error: nothing is left to test"),
    ],
)
def test_what_cannot_be_planned_is_bad_input(
    aprqa: "Aprqa", playbook: Path, arguments: list[str], message: str
) -> None:
    ended = aprqa("plan", playbook, *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert ended.out == ""


def test_all_problems_of_all_files_are_told_at_once(aprqa: "Aprqa", tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.playbook.yaml").write_text(
            f"name: {name}\nversion: 1\nmodle: {{}}\n", encoding="utf-8"
        )
    ended = aprqa("plan", ".", "nowhere.yaml", "--print")
    assert ended.code == 2
    for told in (
        "error: one.playbook.yaml:3: ",
        "error: two.playbook.yaml:2: ",
        "perhaps 'model' is meant",
        "error: nowhere.yaml: there is no such file",
    ):
        assert told in ended.err


RUNNERS = """schema: aprqa-runners/1
runners:
  - {name: own, runs_on: self-hosted, backend: cpu, self_hosted: true, memory_gb: 64, disk_gb: 64}
"""


def test_shards_are_planned_for_runner_classes(aprqa: "Aprqa", tmp_path: Path) -> None:
    data = playbook_data(test_matrix={"modalities": ["run"], "backends": ["cpu", "gpu"]})
    (tmp_path / "x.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    ended = aprqa("plan", ".", "--runners", "default", "-o", "plan.json", "--matrix", "m.json")
    assert ended.code == 0
    plan = read_plan(tmp_path / "plan.json")
    (shard,) = plan.shards
    assert shard.runner == "ubuntu-latest"
    times = (
        f"{shard.expected_seconds:g} s on ubuntu-latest, ended after {shard.timeout_minutes} min"
    )
    assert f"  s001: 1 cells, {times}" in ended.out.splitlines()
    gpu = "tiny:run-gpu-safetensors"
    assert f"  unplaced: {gpu}: no runner class has backend gpu" in ended.out.splitlines()
    assert "what is unplaced is never run, and blocks the certificate" in ended.out
    assert [each.cell for each in plan.unplaced] == [gpu]
    (entry,) = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))["include"]
    assert entry["shard"] == "s001"
    assert entry["runs-on"] == "ubuntu-latest"


def test_a_forks_pull_request_reaches_no_machine_of_ones_own(
    aprqa: "Aprqa", playbook: Path, tmp_path: Path
) -> None:
    (tmp_path / "r.yml").write_text(RUNNERS, encoding="utf-8")
    ended = aprqa("plan", playbook, "--runners", "r.yml", "--fork", "-o", "plan.json")
    assert ended.code == 0
    plan = read_plan(tmp_path / "plan.json")
    assert (plan.shards, plan.unplaced) == ((), ())
    assert [each.cell for each in plan.deferred] == [cell.id for cell in plan.cells]
    assert "  deferred: tiny:run-cpu-safetensors: only own could take it" in ended.out
    assert "blocks the certificate" not in ended.out


def test_the_target_and_the_maximum_say_how_many_shards_there_are(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    for number in range(4):
        data = playbook_data(f"p{number}", model={"hf_repo": f"org/m{number}"})
        path = tmp_path / f"p{number}.playbook.yaml"
        path.write_text(json.dumps(data), encoding="utf-8")
    for options, count in (
        ([], 1),
        (["--target-minutes", "0.1"], 4),
        (["--target-minutes", "0.1", "--max-shards", "3"], 3),
        (["--max-shards", "3"], 1),
        (["--runners", "default"], 1),
        (["--runners", "default", "--target-minutes", "0.1"], 4),
        (["--runners", "default", "--shards", "2"], 2),
    ):
        assert aprqa("plan", ".", "-o", "plan.json", *options).code == 0
        assert len(read_plan(tmp_path / "plan.json").shards) == count, options


def test_many_reasons_are_not_all_shown(aprqa: "Aprqa", tmp_path: Path) -> None:
    for size in range(30, 45):
        data = playbook_data(f"p{size}", model={"hf_repo": f"org/m-{size}b"})
        (tmp_path / f"p{size}.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    ended = aprqa("plan", ".", "--runners", "default", "-o", "plan.json", "--tier", "quick")
    assert ended.code == 0
    assert ended.out.count("unplaced: p") == 10
    assert "unplaced: 5 more cells, which the plan names with their reasons" in ended.out


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (
            ["--shards", "2", "--max-shards", "3", "--fork"],
            ["nothing to do", "--shards says how many", "name these with --runners"],
        ),
        (["--print", "--runners", "none.yml"], ["none.yml: cannot read the file"]),
        (["--matrix", "m.json"], ["make the plan with --runners"]),
    ],
)
def test_options_that_contradict_one_another_are_refused(
    aprqa: "Aprqa", playbook: Path, tmp_path: Path, arguments: list[str], messages: list[str]
) -> None:
    ended = aprqa("plan", playbook, *arguments)
    assert ended.code == 2
    assert all(message in ended.err for message in messages)
    assert not (tmp_path / "m.json").exists()
