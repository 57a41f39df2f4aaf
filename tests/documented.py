"""Commands that documents show, and a copy of the repository to run them in."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

__all__ = ["ROOT", "copied_repository", "run_shown", "shown_commands"]

ROOT = Path(__file__).resolve().parents[1]

_COPIED = (
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements",
    "scripts",
    "playbooks",
    "docs",
)
_CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "APRQA_CACHE")
_SECONDS = 300


def shown_commands(text: str, programs: Collection[str], *, language: str = "") -> list[str]:
    """Return the lines of a document's code blocks that begin with one of the programs."""
    commands, block = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            block = line[3:] if block is None else None
        elif block == language and line.split(" ", 1)[0] in programs:
            commands.append(line)
    return commands


def copied_repository(copy: Path) -> Path:
    """Copy what a user of the repository has; its installation is the one that runs the tests."""
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy2(source, copy / name)
    (copy / "aprqa_ci").symlink_to(ROOT / "aprqa_ci")
    binaries = copy / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    launcher = binaries / "aprqa"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aprqa_ci "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    (copy / ".venv" / ".installed").touch()
    return copy


def run_shown(repository: Path, command: str, *, ends_with: int = 0) -> str:
    """Run a command as a reader would, and return what it said.

    Raises:
        AssertionError: it ended otherwise, or with a traceback.
    """
    environment = os.environ | {
        "PATH": f"{repository / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(repository / "home"),
        "PYTHONPATH": str(ROOT),
    }
    for name in _CACHES:
        environment.pop(name, None)
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == ends_with, f"{command}\n{output}"
    assert "Traceback" not in output, command
    return output
