"""Make the virtual environment that the action runs in, and run ``aprqa action`` there.

The environment holds the locked dependencies and nothing else; the tool itself is run from the
action's own directory, so the action at a tag *is* the tool at that tag, and nothing is built. The
environment is named by what is in it, so that later steps of the job find it again.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
BASE_LOCK = "requirements/run.txt"
HUB_LOCK = "requirements/hub.txt"
"""The same and what fetching models needs."""
PUBLISHING_LOCK = "requirements/github.txt"
"""The same and what publishing needs."""
_PUBLISHING_COMMANDS = {"merge", "certify", "report"}
_HUB_COMMANDS = {"resolve", "fetch"}
# A shard fetches, then runs: one environment for both is installed once.
_HUB_LOCK_COMMANDS = _HUB_COMMANDS | {"run"}
_HUB_TOKENS = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "INPUT_HF_TOKEN"}
_ATTEMPTS = 3
_BAD_INSTALLATION = 3
"""Inconclusive: a machine that cannot install us says nothing about a model."""


class InstallationError(Exception):
    """The environment could not be made; the text says why and what to do."""


def main() -> NoReturn:
    """Install what is needed, then become the tool."""
    try:
        python = environment_python(lock_for(os.environ), places=os.environ)
    except InstallationError as error:
        text = str(error).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::error title=aprqa could not be installed::{text}", flush=True)
        sys.exit(_BAD_INSTALLATION)
    if sys.argv[1:] == ["--install-only"]:
        sys.exit()
    os.execve(  # noqa: S606 - no shell: the runner's signals must reach the tool itself
        python, [str(python), "-m", "aprqa_ci", "action"], tool_environment(os.environ)
    )


def lock_for(inputs: Mapping[str, str]) -> Path:
    """Return the lock file that the command needs: what it does without is not installed."""
    if inputs.get("INPUT_COMMAND") in _HUB_LOCK_COMMANDS:
        return ROOT / HUB_LOCK
    publishes = (
        inputs.get("INPUT_COMMAND") in _PUBLISHING_COMMANDS
        and inputs.get("INPUT_PUBLISH") != "none"
    )
    return ROOT / (PUBLISHING_LOCK if publishes else BASE_LOCK)


def tool_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the tool: our package first, the checkout never.

    The working directory is somebody's checkout, a stranger's in a pull request, so nothing is
    imported from it, whatever Python variables the job sets. A job's token of the hub is for the
    commands that fetch: what a process was started with, its children can read.
    """
    kept = {name: text for name, text in environment.items() if not name.startswith("PYTHON")}
    if environment.get("INPUT_COMMAND") not in _HUB_COMMANDS:
        kept = {name: text for name, text in kept.items() if name not in _HUB_TOKENS}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }


def environment_python(lock: Path, *, places: Mapping[str, str]) -> Path:
    """Return the Python of the environment of a lock file, which is made if it is not there.

    Args:
        lock: the requirements with their digests.
        places: ``APRQA_VENVS`` names the directory to keep environments in, for runners that
            outlive their jobs; else they go to ``RUNNER_TEMP``, which the runner empties.

    Raises:
        InstallationError: it could not be made.
    """
    parent = Path(places.get("APRQA_VENVS") or places.get("RUNNER_TEMP") or "/tmp")  # noqa: S108 - RUNNER_TEMP is always set by a runner
    told = sha256(lock.read_bytes() + sys.version.encode() + sys.base_prefix.encode())
    final = parent.resolve() / f"aprqa-{lock.stem}-{told.hexdigest()[:16]}"
    python = final / "bin" / "python"
    if not python.exists():
        # Made elsewhere and renamed when whole, so that what is there is never half of one.
        made = final.with_name(f"{final.name}.{os.getpid()}")
        try:
            _install(made, lock)
            made.rename(final)
        except OSError as error:
            if not python.exists():
                msg = f"{final}: {error}"
                raise InstallationError(msg) from error
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return python


def _install(directory: Path, lock: Path) -> None:
    started = time.monotonic()
    directory.parent.mkdir(parents=True, exist_ok=True)
    _run(
        [sys.executable, "-I", "-m", "venv", str(directory)],
        hint="python3 -m venv must work; on Debian and Ubuntu it is in the package python3-venv",
    )
    install = [
        *(str(directory / "bin" / "python"), "-I", "-m", "pip", "install", "--quiet"),
        # Compiling all of it takes longer than compiling what is imported.
        *("--disable-pip-version-check", "--no-input", "--no-compile", "--only-binary", ":all:"),
        *("--require-hashes", "-r", str(lock)),
    ]
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _run(install, hint="the package index must be reachable, or a mirror named for pip")
            break
        except InstallationError:
            if attempt == _ATTEMPTS:
                raise
            time.sleep(attempt)
    print(f"installed {lock.name} in {time.monotonic() - started:.1f} s", flush=True)


def _run(command: list[str], *, hint: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip())[-2000:]
        msg = f"{hint}\n{told}"
        raise InstallationError(msg)


if __name__ == "__main__":
    main()
