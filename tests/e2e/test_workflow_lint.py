"""The action, the workflows and the examples, read as closely as GitHub and its auditors do."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.act.harness import HERE, export, tools_path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ROOT / ".cache" / "workflow-lint" / "node_modules"
WORKFLOWS = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(".github/workflows/*.yml"))
EXAMPLES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("examples/*.yml"))
DEPENDABOT = ".github/dependabot.yml"

Lint = Callable[[Path], "subprocess.CompletedProcess[str]"]


def tool(name: str) -> str:
    found = shutil.which(name, path=tools_path())
    if found is None and not os.environ.get("CI"):
        pytest.skip(f"{name} is not on PATH; `make test` installs it")
    assert found is not None
    return found


def call(
    repository: Path, name: str, *arguments: object, **env: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [tool(name), *(str(each) for each in arguments)],
        cwd=repository,
        env={**os.environ, "PATH": tools_path(), **env},
        capture_output=True,
        text=True,
        check=False,
    )


def check_jsonschema(repository: Path) -> "subprocess.CompletedProcess[str]":
    for schema, files in (
        ("vendor.github-actions", ("action.yml",)),
        ("vendor.dependabot", (DEPENDABOT,)),
    ):
        done = call(repository, "check-jsonschema", "--builtin-schema", schema, *files)
        if done.returncode:
            return done
    schema = "vendor.github-workflows"
    return call(repository, "check-jsonschema", "--builtin-schema", schema, *WORKFLOWS, *EXAMPLES)


def actionlint(repository: Path) -> "subprocess.CompletedProcess[str]":
    tool("shellcheck")  # actionlint calls it if it is there
    return call(repository, "actionlint", "-pyflakes=", *WORKFLOWS, *EXAMPLES)


def shellcheck(repository: Path) -> "subprocess.CompletedProcess[str]":
    scripts = ("action/run.sh", "release/build.sh", "release/sbom.sh")
    return call(
        repository, "shellcheck", *(f"scripts/{each}" for each in scripts), "tests/act/act.sh"
    )


def zizmor(repository: Path) -> "subprocess.CompletedProcess[str]":
    chosen = ("--offline", "--no-progress", "--persona", "pedantic", "--format", "plain")
    files = (*WORKFLOWS, *EXAMPLES, DEPENDABOT, "action.yml")
    return call(repository, "zizmor", *chosen, "--config", ".github/zizmor.yml", *files)


def node(repository: Path, script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    if not MODULES.is_dir() and not os.environ.get("CI"):
        pytest.skip("GitHub's workflow parser is not here; `make test` installs it with npm")
    # Node looks for modules beside the script.
    scripts = repository.parent / "workflow-lint"
    if not scripts.exists():
        shutil.copytree(HERE / "lint", scripts, ignore=shutil.ignore_patterns("node_modules"))
        (scripts / "node_modules").symlink_to(MODULES)
    stubs = str(HERE / "stubs")
    return call(repository, "node", scripts / script, *arguments, STUBS=stubs, SELF="org/apr-qa")


def github_parser(repository: Path) -> "subprocess.CompletedProcess[str]":
    # It cannot look up workflows of other repositories, so not the examples that call ours.
    return node(repository, "parse.mjs", "action.yml", *WORKFLOWS)


def github_language_service(repository: Path) -> "subprocess.CompletedProcess[str]":
    return node(repository, "validate.mjs", ".", "action.yml", *WORKFLOWS, *EXAMPLES)


LINTS = (
    check_jsonschema,
    actionlint,
    shellcheck,
    zizmor,
    github_parser,
    github_language_service,
)

FAULTS = {
    "misspelt key": (check_jsonschema, "certify.yml", "timeout-minutes: 15", "timeout-minute: 15"),
    "job that is not needed": (actionlint, "certify.yml", "needs: plan", "needs: plans"),
    "shell error": (shellcheck, "../../scripts/action/run.sh", 'dirname "$0"', "dirname $0"),
    "template injection": (zizmor, "ci.yml", "run: make test", "run: echo ${{ github.head_ref }}"),
    "kept credentials": (zizmor, "ci.yml", "persist-credentials: false", "fetch-depth: 1"),
    "expression": (github_parser, "certify.yml", "${{ matrix.matrix }}", "${{ matrix.matrix + }}"),
    "input that the action lacks": (
        github_language_service,
        "certify.yml",
        "          command: merge",
        "          command: merge\n          policy: x",
    ),
}


@pytest.mark.parametrize("lint", LINTS, ids=lambda lint: lint.__name__)
def test_all_is_clean(lint: Lint, tmp_path: Path) -> None:
    done = lint(export(ROOT, tmp_path / "repository"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(name: str, tmp_path: Path) -> None:
    lint, file, old, new = FAULTS[name]
    repository = export(ROOT, tmp_path / "repository")
    target = repository / ".github/workflows" / file
    text = target.read_text(encoding="utf-8")
    assert old in text
    target.write_text(text.replace(old, new), encoding="utf-8")
    assert lint(repository).returncode != 0


def load(name: str) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return told


@pytest.mark.parametrize("name", [*WORKFLOWS, *EXAMPLES])
def test_rights_are_given_per_job_with_a_reason(name: str) -> None:
    workflow = load(name)
    assert workflow["permissions"] == {}
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    rights = [line for line in lines if re.match(r"\s+[a-z-]+: (read|write)\b", line)]
    assert rights
    assert [line for line in rights if " # " not in line] == []
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job or "uses" in job
        for step in job.get("steps", ()):
            if "actions/checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", [*WORKFLOWS, *EXAMPLES, "action.yml"])
def test_actions_of_others_are_pinned_by_commit(name: str) -> None:
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        found = re.match(r"\s*(?:- )?uses: (\S+)(.*)", line)
        if found and not found[1].startswith(("./", "org/apr-qa")):
            assert re.fullmatch(r"\S+@[0-9a-f]{40}", found[1]), line
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", found[2]), line


def test_the_writer_of_the_registry_is_never_cancelled() -> None:
    verdict = load(".github/workflows/certify.yml")["jobs"]["verdict"]
    assert verdict["concurrency"]["cancel-in-progress"] is False
    bundled = load(".github/workflows/certify-bundled.yml")["concurrency"]
    assert bundled["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
