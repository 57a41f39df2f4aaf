"""What ``aprqa run`` refuses; tests/integration has the runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

PLAN = planned(playbook_data(test_matrix={"modalities": ["run", "chat"]}), tier="quick", shards=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan.json"], "the plan has 2 shards; name one with --shard: s001, s002"),
        (["plan.json", "--shard", "s003"], "the plan has no shard 's003'; it has s001, s002"),
        (["plan.json", "--shard", "s001", "--tier", "mvp"], "a plan says what is run"),
        (["plan.json", "--shard", "s001", "--only", "*"], "a plan says what is run"),
        (["plan.json", "--shard", "s001", "--backend", "cpu"], "a plan says what is run"),
        (["plan.json", "--shard", "s001", "--engine", "reference"], "a plan says what is run"),
        (["paln.json"], "error: paln.json: cannot read the file"),
        (["tiny.playbook.yaml", "--shard", "s001"], "--shard needs a plan"),
        (["tiny.playbook.yaml", "--only", "chat-*"], "'chat-*' matches no cell"),
        (["nowhere.yaml"], "there is no such file"),
    ],
)
def test_wrong_usage_runs_nothing(
    aprqa: "Aprqa", playbook: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "plan.json").write_bytes(pretty_json(PLAN))
    before = sorted(tmp_path.rglob("*"))
    ended = aprqa("run", *arguments)
    assert ended.code == 2
    assert message in ended.err
    assert sorted(tmp_path.rglob("*")) == before
    assert playbook in before


def test_what_the_machine_is_not_fit_for_is_said_and_judges_nothing(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    (tmp_path / "plan.json").write_bytes(pretty_json(PLAN))
    ended = aprqa("run", "plan.json", "--shard", "s001", "-o", "out")
    assert ended.code == 3
    assert "not run here: 1 cells: org/tiny (safetensors) is not on this machine" in ended.out
    assert (tmp_path / "out" / "manifest.json").exists()
