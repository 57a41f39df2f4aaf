"""What is installed by any script, workflow or recipe is known by its digest before it is run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
SCRIPTS = [
    ROOT / "Makefile",
    ROOT / "action.yml",
    *sorted((ROOT / ".github/workflows").glob("*.yml")),
    *sorted((ROOT / "examples").glob("*.yml")),
    *sorted((ROOT / "scripts").rglob("*.sh")),
]
INSTALL = re.compile(r"\bpip3?\b[^\n|;&]*?\b(?:install|wheel|download)\b[^\n|;&]*")
# Of its own tree, without dependencies and with what is there already: nothing is fetched.
OF_OURSELVES = re.compile(r"--no-deps --no-build-isolation (?:--editable|--wheel-dir dist)")

# Its builds differ by device, and so do their digests. It is for the tests of one engine alone, in
# an environment and a job that nothing is released from (SECURITY.md).
TORCH = re.compile(r"^pip install --quiet --disable-pip-version-check \"\$\(TORCH\)\"$")


def installs(text: str) -> list[str]:
    return INSTALL.findall(text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_install_is_by_digest(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    unlocked = [
        command
        for command in installs(text)
        if "--require-hashes" not in command and not OF_OURSELVES.search(command)
    ]
    if path.name == "Makefile":
        assert len(unlocked) == 1
        assert TORCH.match(unlocked.pop()), unlocked
        assert re.search(r"^TORCH \?= torch==[\d.]+$", text, re.MULTILINE)
    assert unlocked == []
    for other in ("easy_install", "pipx", "curl ", "wget ", "uvx"):
        assert other not in text, other
    for npm in re.findall(r"\bnpm [^\n;&|]*", text):
        # `npm ci` takes what its lock has the digest of; the rest are words about npm.
        assert npm.startswith("npm ci ") or "install" not in npm, npm


def test_the_rule_sees_an_install_without_digests() -> None:
    assert installs("run: |\n  python -m pip install requests\n  pip download x")
    seen = [text for path in SCRIPTS for text in installs(path.read_text(encoding="utf-8"))]
    assert len(seen) >= 7


def test_the_action_installs_by_digest_and_builds_nothing() -> None:
    text = (ROOT / "scripts/action/bootstrap.py").read_text(encoding="utf-8")
    (command,) = re.findall(r"install = \[(.*?)\n    \]", text, re.DOTALL)
    words = re.findall(r'"([^"]+)"', command)
    assert words[words.index("--require-hashes") + 1 :][:1] == ["-r"]
    assert words[words.index("--only-binary") + 1] == ":all:"
    assert text.count('"install"') == 1


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_line_of_a_lock_has_a_version_and_digests(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines
    for line in lines:
        assert re.match(r"[\w.\[\],-]+==[^\s;]+", line), line
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line
        assert "://" not in line, line
