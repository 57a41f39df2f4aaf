"""Every command of the README, run in its order in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What is not run here, and why.
NOT_RUN = {
    "make certify MODEL=smollm2-135m TIER=quick": "fetches a wheel; tests/unit/scripts has it",
}
# The commands that do not end in a good verdict, by what they show.
EXIT_CODES = {
    "aprqa certify playbooks/models/qwen2.5-coder-0.5b-mvp.playbook.yaml --tier mvp": 3,
}


def shown_commands() -> list[str]:
    commands, language = [], None
    for line in README.splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language == "" and line.startswith(("make ", "aprqa ", "jq ")):
            commands.append(line)
    return commands


def example_playbook() -> str:
    found = re.search(r"^```yaml\n# (playbooks/\S+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[2]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("readme") / "repository"
    names = ["Makefile", "README.md", "pyproject.toml", "requirements", "scripts", "playbooks"]
    for name in (*names, "docs"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy2(source, copy / name)
    (copy / "aprqa_ci").symlink_to(ROOT / "aprqa_ci")
    path = copy / "playbooks" / "models" / "qwen2.5-coder-0.5b-mvp.playbook.yaml"
    path.write_text(example_playbook(), encoding="utf-8")
    # The installation is the one that runs this test: make finds it done.
    binaries = copy / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    launcher = binaries / "aprqa"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aprqa_ci "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    (copy / ".venv" / ".installed").touch()
    return copy


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(repository: Path) -> None:
    environment = os.environ | {
        "PATH": f"{repository / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(repository / "home"),
        "PYTHONPATH": str(ROOT),
    }
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "APRQA_CACHE"):
        environment.pop(name, None)
    ran = []
    for command in shown_commands():
        if command in NOT_RUN or (command.startswith("jq ") and shutil.which("jq") is None):
            continue
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=repository,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        output = done.stdout + done.stderr
        assert done.returncode == EXIT_CODES.get(command, 0), f"{command}\n{output}"
        assert "Traceback" not in output, command
        ran.append(command)
    assert "make certify" in ran
    assert (repository / "certifications" / "aprqa-tiny-mvp" / "certificate.json").exists()
    registry = (repository / "docs" / "certifications" / "models.csv").read_text(encoding="utf-8")
    assert "aprqa/aprqa-tiny" in registry
    assert "Qwen/Qwen2.5-Coder-0.5B-Instruct" not in registry
    table = (repository / "README.md").read_text(encoding="utf-8")
    assert "aprqa-tiny](https://huggingface.co/aprqa/aprqa-tiny)" in table


def test_what_is_left_out_is_still_in_the_readme() -> None:
    assert set(NOT_RUN) <= set(shown_commands())
    assert set(EXIT_CODES) <= set(shown_commands())


def test_every_command_of_the_tool_is_in_the_readme() -> None:
    from aprqa_ci.cli.main import _COMMANDS

    for name in _COMMANDS:
        assert f"`aprqa {name}" in README, name


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in {
        re.split(r"\s+", command)[1] for command in shown_commands() if command.startswith("make ")
    }:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
