import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.cli.main import run
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Outcome
from tests.playbooks import planned, playbook_data
from tests.records import made_records


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Aprqa = Callable[..., Ended]


@pytest.fixture
def aprqa(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Aprqa:
    """Runs a command in an empty directory, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def call(*arguments: object) -> Ended:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Ended(code=code, out=said.out, err=said.err)

    return call


@pytest.fixture(scope="session")
def plan() -> Plan:
    """The plan of a playbook that can be CERTIFIED."""
    data = playbook_data(model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0"]})
    return planned(data, tier="mvp").for_playbook("tiny")


BundleOf = Callable[..., Bundle]


@pytest.fixture
def bundle_of(tmp_path: Path, plan: Plan) -> BundleOf:
    """Writes a bundle: a good one unless outcomes of scenarios are given."""

    def make(
        outcomes: dict[str, Outcome] | None = None,
        *,
        cause: str | None = None,
        of: Plan = plan,
        name: str = "bundle",
    ) -> Bundle:
        records = made_records(of, outcomes, cause=cause)
        return write_bundle(tmp_path / name, of, records, model_digests={})

    return make


@pytest.fixture
def certified(bundle_of: BundleOf) -> Bundle:
    """Everything was corroborated."""
    return bundle_of()


@pytest.fixture
def blocked(bundle_of: BundleOf, plan: Plan) -> Bundle:
    """The model could not be loaded in one cell."""
    return bundle_of({f"{plan.cells[0].id}#G1-LOAD": Outcome.FALSIFIED})


@pytest.fixture
def inconclusive(bundle_of: BundleOf, plan: Plan) -> Bundle:
    """The machine had no memory left for one scenario."""
    return bundle_of(
        {plan.cells[0].scenarios[-1].id: Outcome.SKIPPED}, cause="infrastructure:no-memory"
    )


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    """A playbook whose model is nowhere."""
    path = tmp_path / "tiny.playbook.yaml"
    path.write_text(json.dumps(playbook_data()), encoding="utf-8")
    return path
