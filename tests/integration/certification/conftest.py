import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.certification.steps import Surroundings
from tests.playbooks import playbook_data

Project = Callable[..., Path]
BUNDLED = Path(__file__).resolve().parents[3] / "aprqa_ci/data/models/aprqa-tiny"


@pytest.fixture
def project(tmp_path: Path, tiny_llama: Path) -> Project:
    """Writes playbooks for a tiny model with random weights, and returns their folder."""

    def make(*names: str, **changes: Any) -> Path:
        folder = tmp_path / "playbooks"
        folder.mkdir(exist_ok=True)
        model = {"local_path": str(tiny_llama)} | changes.pop("model", {})
        for name in names or ("tiny-quick",):
            data = playbook_data(name, model=model, failure_policy="collect_all")
            data["test_matrix"] |= changes.get("test_matrix", {})
            data |= {key: value for key, value in changes.items() if key != "test_matrix"}
            path = folder / f"{name}.playbook.yaml"
            path.write_text(json.dumps(data), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def world(tmp_path: Path) -> Surroundings:
    """A world without a home and without the commands that describe a machine."""
    return Surroundings(home=tmp_path / "home", root=tmp_path, run_command=lambda _: None)
