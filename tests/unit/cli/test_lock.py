from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from aprqa_ci.execution.fetching.manifest import FetchedModel, ModelFile, Models
from aprqa_ci.wire import pretty_json

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

_PLAYBOOK = "playbooks/models/x-1b-mvp.playbook.yaml"


def test_locked_playbooks_are_planned_and_changed_ones_refused(
    aprqa: "Aprqa", tmp_path: Path
) -> None:
    aprqa("init", "acme/x-1B")
    ended = aprqa("plan", _PLAYBOOK, "--locked", "--print")
    assert ended.code == 2
    assert "there is no lock (make it: aprqa lock)" in ended.err
    assert aprqa("lock").out == "playbooks/playbook.lock.json: 1 playbooks\n"
    assert aprqa("lock", "--check").out == "1 playbooks are as they were locked\n"
    assert aprqa("plan", _PLAYBOOK, "--locked", "--print").code == 0
    path = tmp_path / _PLAYBOOK
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("seed: 42", "seed: 7"), encoding="utf-8")
    for arguments in (
        ("plan", _PLAYBOOK, "--locked", "--print"),
        ("certify", _PLAYBOOK, "--locked"),
        ("run", _PLAYBOOK, "--locked"),
        ("lock", "--check"),
    ):
        ended = aprqa(*arguments)
        assert ended.code == 2
        assert "test_matrix.seed: 42 -> 7" in ended.err
    assert aprqa("plan", _PLAYBOOK, "--print").code == 0
    aprqa("lock")
    assert aprqa("lock", "--check").code == 0


def test_models_that_were_fetched_are_locked_too(aprqa: "Aprqa", tmp_path: Path) -> None:
    aprqa("init", "acme/x-1B")
    fetched = FetchedModel(
        repo="acme/x-1B",
        revision="main",
        commit="a" * 40,
        variants=("safetensors",),
        files=(ModelFile(path="model.safetensors", size=1, sha256="b" * 64),),
    )
    path = tmp_path / "models.json"
    path.write_bytes(pretty_json(Models(models=(fetched,))))
    assert aprqa("lock", "--models", path).code == 0
    assert aprqa("lock", "--check", "--models", path).code == 0
    moved = msgspec.structs.replace(fetched, commit="c" * 40)
    path.write_bytes(pretty_json(Models(models=(moved,))))
    ended = aprqa("lock", "--check", "--models", path)
    assert ended.code == 2
    assert "acme/x-1B was at aaaaaaaaaaaa and is at cccccccccccc" in ended.err
