"""What ``aprqa certify`` does before it runs anything; tests/integration has the runs."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.planning.plan import Plan
from tests.playbooks import planned, playbook_data

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def listing(*folders: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in (".", *names):
                path = Path(root, name)
                state = path.stat()
                data = path.read_bytes() if path.is_file() else b""
                found[str(path)] = (state.st_mtime_ns, state.st_mode, data)
    return found


def scenario_ids(plan: Plan) -> list[str]:
    return [scenario.id for cell in plan.cells for scenario in cell.scenarios]


def test_a_dry_run_lists_every_scenario_and_touches_nothing(aprqa: "Aprqa", tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    data = playbook_data(
        model={"formats": ["safetensors", "gguf"]},
        test_matrix={"modalities": ["run", "chat"], "prompts": ["What is 2+2?"]},
        trace_payload={},
        gates={"g1_model_loads": "true"},
    )
    (tmp_path / "tiny.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    before = listing(tmp_path)
    ended = aprqa("certify", "tiny.playbook.yaml", "--tier", "full", "--dry-run")
    assert listing(tmp_path) == before
    assert ended.code == 0
    lines = ended.out.splitlines()
    ids = scenario_ids(planned(data, tier="full"))
    assert [line.split()[0] for line in lines if "#" in line.split()[0]] == ids
    assert lines[0] == f"tiny: tier full, 4 cells, {len(ids)} scenarios"
    assert "  declared, not run: trace_payload" in lines
    assert any(line.startswith("  warning: ") and "g1_model_loads" in line for line in lines)
    assert any(line.endswith("#001  F-A1-001  What is 2+2?") for line in lines)


def test_a_narrowed_dry_run_says_so(aprqa: "Aprqa", tmp_path: Path) -> None:
    data = playbook_data(test_matrix={"modalities": ["run", "chat"]})
    (tmp_path / "tiny.playbook.yaml").write_text(json.dumps(data), encoding="utf-8")
    ended = aprqa("certify", "tiny.playbook.yaml", "--only", "chat-*", "--dry-run")
    assert ended.out.splitlines()[0].endswith("scenarios, narrowed")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tiny.playbook.yaml", "--tier", "mpv"], "perhaps 'mvp' is meant"),
        (["tiny.playbook.yaml", "--only", "*:serve-*"], "'*:serve-*' matches no cell"),
        (["*.yml"], "no file matches"),
        (["tiny.playbook.yaml", "tiny.playbook.yaml.bak"], "there is no such file"),
    ],
)
def test_bad_input_changes_nothing(
    aprqa: "Aprqa", playbook: Path, arguments: list[str], message: str
) -> None:
    before = listing(playbook.parent)
    for options in ([], ["--dry-run"]):
        ended = aprqa("certify", *arguments, *options)
        assert ended.code == 2
        assert message in ended.err
        assert listing(playbook.parent) == before


def test_an_engine_that_there_is_not_is_bad_input(
    aprqa: "Aprqa", tmp_path: Path, playbook: Path
) -> None:
    before = listing(tmp_path)
    ended = aprqa("certify", playbook, "--engine", "llamacp")
    assert ended.code == 2
    assert "perhaps 'llamacpp' is meant" in ended.err
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--through", "mvp", "--tier", "mvp"), "leave --tier out"),
        (("--through", "mvp", "--resume"), "--resume and --dry-run are for one"),
        (("--failed", "--through", "mvp"), "--failed goes by the evidence"),
        (("--through", "nothing"), "there is no tier 'nothing'"),
    ],
)
def test_what_makes_no_sense_together_is_refused(
    aprqa: "Aprqa", arguments: tuple[str, ...], message: str
) -> None:
    ended = aprqa("certify", "none.playbook.yaml", *arguments)
    assert ended.code == 2
    assert message in ended.err
