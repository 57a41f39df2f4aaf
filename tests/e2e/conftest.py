"""A repository that uses the action, and runs of its workflows."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.act.double import Double, double_of_github, token_rights
from tests.act.harness import HERE, Run, commit, export, git, run_act, tools_path
from tests.github_double.ghspec import GitHubSpec

ROOT = Path(__file__).resolve().parents[2]
VENVS = Path(os.environ.get("APRQA_VENVS") or ROOT / ".cache" / "venvs")

PLAYBOOK = """\
name: tiny
version: "1.0.0"
model:
  hf_repo: example/tiny
  local_path: ../../models/tiny
  formats: [gguf]
  quantizations: [q8_0]
  size_category: tiny
  family: llama
test_matrix:
  modalities: [run, chat]
  backends: [cpu]
  scenario_count: 1
  timeout_ms: 60000
metadata:
  tier: smoke
"""


@dataclass(frozen=True, kw_only=True)
class Consumer:
    """A repository with a model, a playbook and the example workflows."""

    path: Path
    action: Path
    """The action's own repository."""

    def workflow(self, example: str, *, more: str = "") -> str:
        """Take an example over, with more inputs for its last step, and return its path."""
        text = (ROOT / "examples" / example).read_text(encoding="utf-8")
        name = f".github/workflows/{example}"
        (self.path / name).write_text(text + more, encoding="utf-8")
        commit(self.path)
        return name

    def run(
        self,
        out: Path,
        event: str,
        workflow: str,
        *arguments: object,
        payload: dict[str, Any] | None = None,
        github: Double | None = None,
        **env: str,
    ) -> Run:
        """Run a workflow; ``github`` answers, with the rights that the workflow gives its job."""
        if payload is not None:
            event_file = out.with_suffix(".event.json")
            event_file.write_text(json.dumps(payload), encoding="utf-8")
            arguments = (*arguments, "-e", event_file)
        if github is not None:
            called = self.action / ".github/workflows/certify.yml"
            github.take(self.path, token_rights(self.path / workflow, called))
            relay = (sys.executable, HERE / "relay.py", github.socket)
            env["FAKE_GITHUB"] = " ".join(str(each) for each in relay)
        return run_act(
            self.path,
            out,
            event,
            "-W",
            workflow,
            *arguments,
            maps={"org/apr-qa@v1": self.action},
            env={
                "APRQA_VENVS": str(VENVS),
                "STUB_REPOS": json.dumps({"octo/consumer": str(self.action)}),
                **env,
            },
        )


@pytest.fixture(scope="session")
def installed() -> None:
    """The environments of the action, which no step could install without a network."""
    missing = [tool for tool in ("act", "node") if not shutil.which(tool, path=tools_path())]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"not on PATH: {', '.join(missing)}; `make test` installs act")
    assert not missing
    for command in ("plan", "run", "merge"):
        done = subprocess.run(
            [sys.executable, "-I", "scripts/action/bootstrap.py", "--install-only"],
            cwd=ROOT,
            env={**os.environ, "APRQA_VENVS": str(VENVS), "INPUT_COMMAND": command},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"the action could not be installed; `make test` does it: {done.stdout}")
        assert done.returncode == 0, done.stdout


@pytest.fixture(scope="session")
def action_repository(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository, as act can use it; act copies all of it for every step, so it is small."""
    del installed
    return export(ROOT, tmp_path_factory.mktemp("action") / "repository", without=("tests",))


@pytest.fixture(scope="session")
def description() -> GitHubSpec:
    return GitHubSpec(strict_response=True)


@pytest.fixture
def github(description: GitHubSpec, tmp_path: Path) -> Iterator[Double]:
    with double_of_github(tmp_path / "github", description) as made:
        yield made


@pytest.fixture
def consumer(action_repository: Path, tmp_path: Path) -> Consumer:
    return make_consumer(tmp_path / "consumer", action_repository)


def make_consumer(path: Path, action: Path) -> Consumer:
    model = path / "models/tiny"
    shutil.copytree(ROOT / "aprqa_ci/data/models/aprqa-tiny", model)
    playbook = path / "playbooks/models/tiny.playbook.yaml"
    playbook.parent.mkdir(parents=True)
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    workflows = path / ".github/workflows"
    workflows.mkdir(parents=True)
    # GitHub takes the nested workflow from the repository of the one that calls it; act looks here.
    shutil.copy(ROOT / ".github/workflows/certify-shards.yml", workflows)
    git(path.parent, "init", "-q", "-b", "main", str(path))
    commit(path)
    return Consumer(path=path, action=action)
