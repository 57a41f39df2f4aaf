"""Every command of the README, run in its order in a copy of the repository."""

import re
import shutil
from pathlib import Path

import pytest

from tests.documented import ROOT, copied_repository, run_shown, shown_commands

README = (ROOT / "README.md").read_text(encoding="utf-8")

# What is not run here, and why.
NOT_RUN = {
    "make certify MODEL=smollm2-135m TIER=quick": "fetches a wheel; tests/unit/scripts has it",
}
# The commands that do not end in a good verdict, by what they show.
EXIT_CODES = {
    "aprqa certify playbooks/models/qwen2.5-coder-0.5b-mvp.playbook.yaml --tier mvp": 3,
}


def commands() -> list[str]:
    return shown_commands(README, ("make", "aprqa", "jq"))


def example_playbook() -> str:
    found = re.search(r"^```yaml\n# (playbooks/\S+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[2]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = copied_repository(tmp_path_factory.mktemp("readme") / "repository")
    path = copy / "playbooks" / "models" / "qwen2.5-coder-0.5b-mvp.playbook.yaml"
    path.write_text(example_playbook(), encoding="utf-8")
    return copy


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(repository: Path) -> None:
    ran = []
    for command in commands():
        if command in NOT_RUN or (command.startswith("jq ") and shutil.which("jq") is None):
            continue
        run_shown(repository, command, ends_with=EXIT_CODES.get(command, 0))
        ran.append(command)
    assert "make certify" in ran
    assert (repository / "certifications" / "aprqa-tiny-mvp" / "certificate.json").exists()
    registry = (repository / "docs" / "certifications" / "models.csv").read_text(encoding="utf-8")
    assert "aprqa/aprqa-tiny" in registry
    assert "Qwen/Qwen2.5-Coder-0.5B-Instruct" not in registry
    table = (repository / "README.md").read_text(encoding="utf-8")
    assert "aprqa-tiny](https://huggingface.co/aprqa/aprqa-tiny)" in table


def test_what_is_left_out_is_still_in_the_readme() -> None:
    assert set(NOT_RUN) <= set(commands())
    assert set(EXIT_CODES) <= set(commands())


def test_every_command_of_the_tool_is_in_the_readme() -> None:
    from aprqa_ci.cli.main import _COMMANDS

    for name in _COMMANDS:
        assert f"`aprqa {name}" in README, name


def test_every_document_is_linked() -> None:
    for document in (ROOT / "docs").glob("*.md"):
        assert f"](docs/{document.name})" in README, document.name


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in {
        re.split(r"\s+", command)[1] for command in commands() if command.startswith("make ")
    }:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
