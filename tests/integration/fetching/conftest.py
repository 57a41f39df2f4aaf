"""A hub with the bundled model, and what fetching needs of the world."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.cli.main import run
from aprqa_ci.execution.fetching.choosing import wanted_variants
from aprqa_ci.execution.fetching.fetch import FetchWorld, Resolved, fetch_models, resolve_models
from aprqa_ci.execution.fetching.hub import HubError
from aprqa_ci.execution.fetching.hugging_face import connect, hub_settings
from aprqa_ci.execution.fetching.manifest import Models
from aprqa_ci.planning.plan import Plan
from tests.hub_double import HubDouble, Repository, serve_hub
from tests.playbooks import planned, playbook_data

BUNDLED = Path(__file__).resolve().parents[3] / "aprqa_ci/data/models/aprqa-tiny"
REPO = "org/tiny"


def bundled_files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(BUNDLED.iterdir())}


@pytest.fixture
def hub() -> Iterator[HubDouble]:
    """The bundled model, and its weights, as org/tiny."""
    with serve_hub(HubDouble(repositories={REPO: Repository(files=bundled_files())})) as double:
        yield double


@dataclass(kw_only=True)
class Fetcher:
    """Fetches for a plan, and keeps what was said and how long was waited."""

    hub: HubDouble
    root: Path
    said: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    free: int = 10**15

    @property
    def cache(self) -> Path:
        return self.root / "hub"

    def snapshot(self, repo: str = REPO) -> Path:
        commit = self.hub.repositories[repo].commit
        return self.cache / f"models--{repo.replace('/', '--')}" / "snapshots" / commit

    def world(self, token: str | None = None) -> FetchWorld:
        settings = hub_settings({"HF_ENDPOINT": self.hub.endpoint, "HF_TOKEN": token or ""})
        return FetchWorld(
            environment={},
            home=self.root / "home",
            root=self.root,
            cache=self.cache,
            connect=lambda: connect(settings, self.cache, sleep=self.pauses.append),
            say=self.said.append,
            free_disk=lambda _: self.free,
        )

    def resolve(self, plan: Plan, token: str | None = None) -> Resolved:
        cells = {cell.id for cell in plan.cells}
        return resolve_models(wanted_variants(plan, cells), self.world(token))

    def fetch(self, plan: Plan, token: str | None = None) -> tuple[Models, tuple[HubError, ...]]:
        return fetch_models(self.resolve(plan, token), self.world(token))

    def refusal(self, plan: Plan, token: str | None = None) -> HubError:
        """Fetch, and return the one reason why it did not go well."""
        models, (error,) = self.fetch(plan, token)
        assert str(error) in {each.reason for each in models.absent}
        return error


@pytest.fixture
def fetcher(hub: HubDouble, tmp_path: Path) -> Fetcher:
    return Fetcher(hub=hub, root=tmp_path)


PlanOf = Callable[..., Plan]


@pytest.fixture
def plan_of() -> PlanOf:
    """The plan of a playbook with such a model."""

    def make(*formats: str, **model: object) -> Plan:
        return planned(playbook_data(model={"formats": list(formats or ("gguf",)), **model}))

    return make


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended, and what it said."""

    returncode: int
    stdout: str
    stderr: str


Aprqa = Callable[..., Ended]
PLAYBOOK: dict[str, Any] = {
    "name": "tiny-quick",
    "version": "1.0.0",
    "model": {
        "hf_repo": REPO,
        "formats": ["gguf"],
        "quantizations": ["q8_0"],
        "size_category": "tiny",
    },
    "test_matrix": {"modalities": ["run"], "backends": ["cpu"], "scenario_count": 1},
    "metadata": {"tier": "quick"},
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tiny.playbook.yaml").write_text(json.dumps(PLAYBOOK), encoding="utf-8")
    return tmp_path


def environment(place: Path, variables: dict[str, str]) -> dict[str, str]:
    """The variables of this process without those of a hub or a workflow, and some more."""
    names = ("HF_", "HUGGING", "TRANSFORMERS_", "GITHUB_", "INPUT_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(names)}
    return kept | {"HOME": str(place / "home")} | variables


@pytest.fixture
def aprqa(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Aprqa:
    """Runs a command in this process; variables are given as keywords."""
    monkeypatch.chdir(place)

    def call(*arguments: object, **variables: str) -> Ended:
        capsys.readouterr()
        kept = dict(os.environ)
        wanted = environment(place, variables)
        try:
            os.environ.clear()
            os.environ.update(wanted)
            code = run([str(argument) for argument in arguments])
        finally:
            os.environ.clear()
            os.environ.update(kept)
        said = capsys.readouterr()
        return Ended(returncode=code, stdout=said.out, stderr=said.err)

    return call
