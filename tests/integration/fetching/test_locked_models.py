"""A model that is locked is not run in another commit or with other bytes: a real cache of the hub
library, filled by `aprqa fetch`, and the commands."""

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.certification.locked_models import require_locked_models
from aprqa_ci.certification.surroundings import Surroundings
from aprqa_ci.errors import InputError
from aprqa_ci.playbook.lock import LOCK_PATH
from tests.hub_double import HubDouble, commit_of
from tests.integration.fetching.conftest import BUNDLED, PLAYBOOK, REPO, Aprqa

BOOK = "tiny.playbook.yaml"
WEIGHTS = "aprqa-tiny-q8_0.gguf"
LOCKED = ("certify", BOOK, "--locked", "--no-register", "--dry-run")


@pytest.fixture
def snapshot(hub: HubDouble, place: Path, aprqa: Aprqa) -> Path:
    """The files of the model, fetched and locked."""
    assert aprqa("fetch", BOOK, "-o", "models.json", HF_ENDPOINT=hub.endpoint).returncode == 0
    assert aprqa("lock", BOOK, "--models", "models.json").returncode == 0
    folder = place / "home/.cache/huggingface/hub" / f"models--{REPO.replace('/', '--')}"
    return folder / "snapshots" / hub.repositories[REPO].commit


def locked_models(place: Path) -> dict[str, Any]:
    lock = json.loads((place / LOCK_PATH).read_text(encoding="utf-8"))
    models: dict[str, Any] = lock["playbooks"][BOOK]["models"]
    return models


def refusals(place: Path, aprqa: Aprqa) -> set[str]:
    """What the commands that run something say, each before it does."""
    said = set()
    for command in (
        ("certify", BOOK, "--locked", "--no-register"),
        ("certify", BOOK, "--locked", "--no-register", "--through", "quick"),
        ("run", BOOK, "--locked"),
        ("run", "plan.json", "--locked"),
    ):
        assert aprqa("plan", BOOK, "-o", "plan.json").returncode == 0
        ended = aprqa(*command)
        assert ended.returncode == 2, ended.stdout
        said.add(ended.stderr)
    assert not (place / "certifications").exists()
    assert not (place / "aprqa-out").exists()
    return said


def test_what_was_locked_is_run(place: Path, snapshot: Path, aprqa: Aprqa) -> None:
    assert (snapshot / WEIGHTS).resolve().parent.name == "blobs"
    assert set(locked_models(place)[REPO]["files"]) > {WEIGHTS, "config.json"}
    assert aprqa(*LOCKED).returncode == 0
    assert aprqa("plan", BOOK, "-o", "plan.json").returncode == 0
    ended = aprqa("run", "plan.json", "--locked")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_branch_that_moved_is_refused(
    hub: HubDouble, place: Path, snapshot: Path, aprqa: Aprqa
) -> None:
    """The same bytes at another commit: nobody has looked at that one."""
    first, moved = hub.repositories[REPO].commit, commit_of("second")
    shutil.copytree(snapshot, snapshot.parent / moved, symlinks=True)
    (snapshot.parents[1] / "refs/main").write_text(moved, encoding="ascii")
    (said,) = refusals(place, aprqa)
    assert said == (
        f"error: {snapshot.parent / moved}: {REPO} was locked at commit {first} and is at {moved}"
        f" (if that is meant: aprqa fetch {BOOK} -o models.json && aprqa lock --models"
        " models.json)\n"
    )
    # The command that is named does renew the lock.
    hub.repositories[REPO].commit = moved
    aprqa("fetch", BOOK, "-o", "models.json", HF_ENDPOINT=hub.endpoint)
    assert aprqa("lock", BOOK, "--models", "models.json").returncode == 0
    assert locked_models(place)[REPO]["commit"] == moved
    assert aprqa(*LOCKED).returncode == 0


@pytest.mark.parametrize("name", [WEIGHTS, "tokenizer_config.json"])
def test_other_bytes_are_refused(place: Path, snapshot: Path, aprqa: Aprqa, name: str) -> None:
    path = snapshot / name
    before = sha256(path.read_bytes()).hexdigest()
    data = path.read_bytes() + b"\n"
    path.resolve().chmod(0o644)
    path.resolve().write_bytes(data)
    (said,) = refusals(place, aprqa)
    assert f"{path}: the sha256 is {sha256(data).hexdigest()}; locked was {before} (" in said
    assert said.count("sha256") == 1


def test_a_file_that_is_not_locked_is_refused(place: Path, snapshot: Path, aprqa: Aprqa) -> None:
    (snapshot / "chat_template.jinja").write_text("{{ messages }}", encoding="utf-8")
    (said,) = refusals(place, aprqa)
    assert "chat_template.jinja: the sha256 is " in said
    assert "; it is not locked (" in said


def test_files_outside_the_cache_are_held_to_the_same_bytes(
    place: Path, snapshot: Path, aprqa: Aprqa
) -> None:
    """The cache is gone, and another place that is looked at has the files."""
    shutil.rmtree(snapshot.parents[3])
    assert aprqa(*LOCKED).returncode == 0  # Nothing here is nothing to refuse.
    own = place / "home/.cache/aprqa/models/tiny"
    shutil.copytree(BUNDLED, own)
    assert aprqa(*LOCKED).returncode == 0
    (own / "config.json").write_bytes((own / "config.json").read_bytes() + b"\n")
    (said,) = refusals(place, aprqa)
    assert f"{own / 'config.json'}: the sha256 is " in said


def test_a_sibling_repository_that_is_not_locked_is_refused(
    place: Path, snapshot: Path, aprqa: Aprqa
) -> None:
    """The weights come from ``<name>-GGUF`` when the model's own repository has none any more."""
    (snapshot / WEIGHTS).unlink()
    (snapshot / "aprqa-tiny-q4_0.gguf").unlink(missing_ok=True)
    other = snapshot.parents[1].with_name("models--org--tiny-GGUF")
    commit = commit_of("other")
    (other / "refs").mkdir(parents=True)
    (other / "refs/main").write_text(commit, encoding="ascii")
    shutil.copytree(BUNDLED, other / "snapshots" / commit)
    (said,) = refusals(place, aprqa)
    assert f"it is at commit {commit}, and nothing of org/tiny-GGUF is locked" in said


def test_the_source_of_a_file_that_is_made_is_held_to_the_lock(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    files = hub.repositories[REPO].files
    hub.repositories[REPO].files = {
        name: data for name, data in files.items() if not name.endswith("gguf")
    }
    aprqa("fetch", BOOK, "-o", "models.json", HF_ENDPOINT=hub.endpoint)
    aprqa("lock", BOOK, "--models", "models.json")
    assert aprqa(*LOCKED).returncode == 0
    (weights,) = (place / "home").rglob("model.safetensors")
    weights.resolve().chmod(0o644)
    weights.resolve().write_bytes(weights.read_bytes() + b"\0")
    (said,) = refusals(place, aprqa)
    assert f"{weights}: the sha256 is " in said


def test_a_shard_is_held_to_what_its_own_cells_read(
    hub: HubDouble, place: Path, aprqa: Aprqa
) -> None:
    model = PLAYBOOK["model"] | {"quantizations": ["q8_0", "q4_0"]}
    changed = PLAYBOOK | {"model": model, "metadata": {"tier": "mvp"}}
    (place / BOOK).write_text(json.dumps(changed), encoding="utf-8")
    aprqa("fetch", BOOK, "-o", "models.json", HF_ENDPOINT=hub.endpoint)
    aprqa("lock", BOOK, "--models", "models.json")
    (weights,) = (place / "home").rglob("aprqa-tiny-q4_0.gguf")
    weights.resolve().chmod(0o644)
    weights.resolve().write_bytes(weights.read_bytes() + b"\0")
    aprqa("plan", BOOK, "-o", "plan.json")
    plan = read_plan(place / "plan.json")
    here = Surroundings(environment={}, home=place / "home", root=place)
    (touched,) = (cell.id for cell in plan.cells if cell.quantization == "q4_0")
    for cell in plan.cells:
        if cell.id != touched:
            require_locked_models(plan, here, [cell.id])
    with pytest.raises(InputError, match=r"q4_0\.gguf: the sha256 is"):
        require_locked_models(plan, here, [touched])
    ended = aprqa("run", "plan.json", "--shard", "s001", "--locked")
    assert (ended.returncode, "q4_0.gguf" in ended.stderr) == (2, True)


def test_a_plan_of_another_playbook_is_refused(place: Path, snapshot: Path, aprqa: Aprqa) -> None:
    del snapshot
    changed = PLAYBOOK | {"version": "1.0.1"}
    (place / BOOK).write_text(json.dumps(changed), encoding="utf-8")
    assert aprqa("plan", BOOK, "-o", "plan.json").returncode == 0
    ended = aprqa("run", "plan.json", "--locked")
    assert ended.returncode == 2
    assert f"{BOOK}: the plan is of the playbook with sha256 " in ended.stderr
    (place / "other.playbook.yaml").write_text(json.dumps(changed), encoding="utf-8")
    assert aprqa("plan", "other.playbook.yaml", "-o", "plan.json").returncode == 0
    assert "; it is not locked" in aprqa("run", "plan.json", "--locked").stderr
    ended = aprqa("run", "plan.json", "--locked", "--tier", "quick")
    assert "what narrows it belongs to `plan`" in ended.stderr


def test_what_is_locked_of_models_stays(place: Path, snapshot: Path, aprqa: Aprqa) -> None:
    del snapshot
    before = locked_models(place)
    assert before
    assert aprqa("lock", BOOK).returncode == 0
    assert locked_models(place) == before
