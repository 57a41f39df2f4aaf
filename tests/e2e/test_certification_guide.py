"""Every command block of the certification guide, run in its order in a copy of the repository."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.documented import ROOT, copied_repository, run_shown, shown_commands

GUIDE = (ROOT / "docs" / "certification-guide.md").read_text(encoding="utf-8")
PROGRAMS = ("aprqa", "cp", "git", "sed", "scripts/validate-schemas.sh")
ENDS_WITH = re.compile(r"  +# ends with (\d)$")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = copied_repository(tmp_path_factory.mktemp("guide") / "repository")
    (copy / "certifications").mkdir(exist_ok=True)
    for arguments in (
        ("init", "--quiet"),
        ("config", "user.name", "A reader"),
        ("config", "user.email", "reader@example.org"),
    ):
        subprocess.run(["git", *arguments], cwd=copy, check=True)  # noqa: S607 - the reader's git
    return copy


def test_every_line_of_a_block_is_a_command() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert lines == shown_commands(GUIDE, PROGRAMS, language="sh")
    assert len(lines) >= 20


@pytest.mark.slow
def test_the_guide_leads_to_a_certificate(repository: Path) -> None:
    for command in shown_commands(GUIDE, PROGRAMS, language="sh"):
        found = ENDS_WITH.search(command)
        run_shown(repository, command, ends_with=int(found[1]) if found else 0)
    bundle = repository / "certifications" / "aprqa-tiny-mvp"
    certificate = json.loads((bundle / "certificate.json").read_bytes())
    assert (certificate["status"], certificate["tier"]) == ("CERTIFIED", "mvp")
    runs = {
        record["metadata"]["run_id"]
        for record in json.loads((bundle / "evidence.json").read_bytes())
    }
    assert len(runs) == 4  # quick, smoke and mvp of the climb, and the one that was appended
    registry = (repository / "docs" / "certifications" / "models.csv").read_text(encoding="utf-8")
    assert "aprqa/aprqa-tiny,llama,,tiny,CERTIFIED" in registry
    assert "my-org/my-own-1B" not in registry
