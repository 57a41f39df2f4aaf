"""Whole runs of a tiny model with random weights, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aprqa_ci.cli.main import run
from aprqa_ci.evidence.journal import JOURNAL_NAME
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY
from tests.playbooks import playbook_data

Aprqa = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aprqa(
    tmp_path: Path,
    tiny_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Aprqa:
    """Runs a command in a directory with a playbook; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = playbook_data(
        "tiny-quick",
        model={"local_path": str(tiny_llama)},
        test_matrix={"modalities": ["run", "chat"]},
        failure_policy="collect_all",
    )
    (tmp_path / "tiny.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def lose_the_model(folder: Path) -> None:
    path = folder / "tiny.playbook.yaml"
    data = json.loads(path.read_bytes())
    data["model"]["local_path"] = str(folder / "nothing")
    path.write_text(json.dumps(data), encoding="utf-8")


def scenario_ids(path: Path) -> list[str]:
    return [record["metadata"]["scenario"] for record in json.loads(path.read_bytes())]


def planned_ids(path: Path) -> list[str]:
    plan = json.loads(path.read_bytes())
    return [scenario["id"] for cell in plan["cells"] for scenario in cell["scenarios"]]


def test_certify_shows_progress_verdict_and_paths(aprqa: Aprqa, tmp_path: Path) -> None:
    code, out, err = aprqa("certify", "tiny.playbook.yaml")
    assert (code, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("tiny-quick:run-cpu-safetensors: ")
    assert lines[1].startswith("tiny-quick:chat-cpu-safetensors: ")
    assert "tiny-quick: gateways" in out
    assert "status BLOCKED" in out
    for wrote in (
        "certifications/tiny-quick/evidence.json",
        "certifications/tiny-quick/certificate.json",
        "certifications/tiny-quick/report.md",
        "certifications/tiny-quick/junit.xml",
        "docs/certifications/models.csv",
    ):
        assert f"  wrote {wrote}" in lines
        assert (tmp_path / wrote).exists()
    assert aprqa("validate", ".")[0] == 0
    assert aprqa("score", "certifications/tiny-quick")[0] == 1
    assert not (tmp_path / "home").exists()


def test_certify_without_registering_leaves_the_registry(aprqa: Aprqa, tmp_path: Path) -> None:
    code, out, _ = aprqa("certify", ".", "--no-register", "--out", "out", "--only", "run-*")
    assert code == 1
    assert not (tmp_path / "docs").exists()
    assert "models.csv" not in out
    assert "The run was narrowed" in out


def test_an_inconclusive_certify_ends_with_3_and_leaves_the_registry(
    aprqa: Aprqa, tmp_path: Path
) -> None:
    aprqa("certify", ".", "--registry", "models.csv")
    before = (tmp_path / "models.csv").read_bytes()
    lose_the_model(tmp_path)
    code, out, err = aprqa("certify", ".", "--registry", "models.csv")
    assert (code, err) == (3, "")
    assert "status INCONCLUSIVE" in out
    assert "  left models.csv as it is: there is no verdict" in out.splitlines()
    assert (tmp_path / "models.csv").read_bytes() == before


def test_warnings_come_first(aprqa: Aprqa, tmp_path: Path) -> None:
    path = tmp_path / "tiny.playbook.yaml"
    data = json.loads(path.read_bytes()) | {"gates": {"g1_model_loads": "true"}}
    path.write_text(json.dumps(data), encoding="utf-8")
    lose_the_model(tmp_path)
    _, out, _ = aprqa("certify", "tiny.playbook.yaml", "--no-register")
    assert out.startswith("warning: tiny.playbook.yaml:1: ")


def test_resume_and_append_can_be_asked_for(aprqa: Aprqa, tmp_path: Path) -> None:
    aprqa("certify", ".", "--no-register")
    evidence = tmp_path / "certifications" / "tiny-quick" / "evidence.json"
    once = scenario_ids(evidence)
    assert once == planned_ids(evidence.with_name("plan.json"))
    aprqa("certify", ".", "--no-register", "--append")
    assert scenario_ids(evidence) == 2 * once
    # A journal as an interrupted run would have left it: the head and three records.
    plan_lines = evidence.with_name(JOURNAL_NAME)
    records = json.loads(evidence.read_bytes())[:3]
    digest = json.loads(evidence.with_name("certificate.json").read_bytes())["plan_digest"]
    head = {
        "schema": "aprqa-journal/1",
        "run_id": "run-1",
        "plan_digest": digest,
        "started": "2026-01-02T12:00:00.000000Z",
    }
    lines = [head, *(record | {"metadata": record["metadata"]} for record in records)]
    plan_lines.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    aprqa("certify", ".", "--no-register", "--resume")
    assert scenario_ids(evidence) == once
    kept = [record["id"] for record in json.loads(evidence.read_bytes())[:3]]
    assert kept == [record["id"] for record in records]


def test_run_does_chosen_cells_straight_away(aprqa: Aprqa, tmp_path: Path) -> None:
    code, out, _ = aprqa("run", "tiny.playbook.yaml", "--only", "chat-*", "-o", "here")
    assert code == 1
    assert out.startswith("tiny-quick:chat-cpu-safetensors: ")
    assert "  wrote here/tiny-quick" in out.splitlines()
    assert {
        each.partition("#")[0] for each in scenario_ids(tmp_path / "here/tiny-quick/evidence.json")
    } == {"tiny-quick:chat-cpu-safetensors"}
    assert not (tmp_path / "docs").exists()


def test_plan_run_and_merge_are_certify_in_steps(aprqa: Aprqa, tmp_path: Path) -> None:
    assert aprqa("plan", ".", "--shards", "2", "-o", "plan.json")[0] == 0
    for shard in ("s001", "s002"):
        code, out, err = aprqa(
            "run", "plan.json", "--shard", shard, "-o", shard, "--run-id", "both"
        )
        # What a shard found is no verdict yet: that is for the merge to say.
        assert (code, err) == (0, "")
        assert f"shard {shard}: " in out
        assert " Corroborated" in out
    code, out, _ = aprqa("merge", "s002", "s001", "--plan", "plan.json", "-o", "merged")
    assert code == 1
    aprqa("certify", ".", "--no-register", "--out", "whole")
    told = []
    for folder in ("merged", "whole"):
        code, out, _ = aprqa("score", f"{folder}/tiny-quick", "--json")
        told.append((code, json.loads(out)))
    assert told[0] == told[1]
    runs = {
        record["metadata"]["run_id"]
        for record in json.loads((tmp_path / "merged/tiny-quick/evidence.json").read_bytes())
    }
    assert runs == {"both"}


def test_a_plan_of_one_shard_needs_no_name_of_it(aprqa: Aprqa, tmp_path: Path) -> None:
    lose_the_model(tmp_path)
    aprqa("plan", ".", "-o", "plan.json")
    code, out, err = aprqa("run", "plan.json", "-o", "s", "--attempt", "2")
    assert code == 3
    assert "shard s001: " in out
    assert "could not be run on this machine, the first because: " in err
    assert json.loads((tmp_path / "s" / "manifest.json").read_bytes())["attempt"] == 2
    code, out, _ = aprqa("merge", "s", "--plan", "plan.json", "-o", "merged")
    assert code == 3


def test_report_and_register_take_the_bundle(aprqa: Aprqa, tmp_path: Path) -> None:
    aprqa("certify", ".", "--no-register")
    assert aprqa("report", "certifications/tiny-quick", "-o", "reports")[0] == 0
    same = (tmp_path / "certifications" / "tiny-quick" / "report.md").read_bytes()
    assert (tmp_path / "reports" / "report.md").read_bytes() == same
    assert aprqa("register", "certifications/tiny-quick")[0] == 0
    assert b"org/tiny" in (tmp_path / "docs" / "certifications" / "models.csv").read_bytes()


def test_climbing_ends_at_the_tier_that_is_not_reached(aprqa: Aprqa, tmp_path: Path) -> None:
    registry = tmp_path / "docs" / "certifications" / "models.csv"
    registry.parent.mkdir(parents=True)
    registry.write_bytes(EMPTY_REGISTRY + f"org/tiny{',' * 19}\n".encode())
    before = registry.read_bytes().replace(b"tiny,,,,,,,,", b"tiny,,,,CERTIFIED,850,B,mvp,")
    registry.write_bytes(before)
    code, out, err = aprqa("certify", "tiny.playbook.yaml", "--through", "smoke")
    assert (code, err) == (1, "")
    assert "tier quick" in out
    assert "tiny-quick goes no further than quick" in out
    assert "tier smoke" not in out
    path = "docs/certifications/models.csv"
    why = "tier quick is below mvp, which stands (--replace-better)"
    assert f"  left {path} as it is: {why}" in out.splitlines()
    assert f"wrote {path}" not in out
    assert registry.read_bytes() == before
    code, out, err = aprqa("certify", "tiny.playbook.yaml", "--replace-better")
    assert (code, err) == (1, "")
    assert f"  wrote {path}" in out.splitlines()
    assert b"org/tiny,,,,BLOCKED," in registry.read_bytes()


def test_what_failed_is_run_again_and_the_evidence_kept(aprqa: Aprqa, tmp_path: Path) -> None:
    aprqa("certify", "tiny.playbook.yaml")
    evidence = tmp_path / "certifications" / "tiny-quick" / "evidence.json"
    before = json.loads(evidence.read_bytes())
    code, out, err = aprqa("certify", "tiny.playbook.yaml", "--failed")
    assert (code, err) == (1, "")
    after = json.loads(evidence.read_bytes())
    assert after[: len(before)] == before
    again = {record["metadata"]["scenario"] for record in after[len(before) :]}
    failed = {r["metadata"]["scenario"] for r in before if r["outcome"] == "Falsified"}
    assert failed <= again
    lose_the_model(tmp_path)
    code, out, err = aprqa("certify", "tiny.playbook.yaml", "--failed")
    assert code != 0
    assert "tiny-quick: the playbook has changed" in out
    assert "to certify, run it without --failed" in out
