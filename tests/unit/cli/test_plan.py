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
