import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts" / "action"


@pytest.fixture
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", SCRIPTS / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("command", "publish", "lock"),
    [
        ("plan", "auto", "run.txt"),
        ("run", "auto", "hub.txt"),
        ("resolve", "none", "hub.txt"),
        ("fetch", "none", "hub.txt"),
        ("merge", "none", "run.txt"),
        ("merge", "auto", "github.txt"),
        ("certify", "pr", "github.txt"),
        ("report", "comment", "github.txt"),
    ],
)
def test_a_command_installs_what_it_needs(
    bootstrap: ModuleType, command: str, publish: str, lock: str
) -> None:
    chosen = bootstrap.lock_for({"INPUT_COMMAND": command, "INPUT_PUBLISH": publish})
    assert chosen == ROOT / "requirements" / lock
    assert chosen.exists()


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "INPUT_HF_TOKEN"])
def test_the_token_of_the_hub_is_for_the_commands_that_fetch(
    bootstrap: ModuleType, name: str
) -> None:
    for command in ("plan", "run", "merge", "certify", "report", ""):
        assert name not in bootstrap.tool_environment({"INPUT_COMMAND": command, name: "hf_x"})
    for command in ("resolve", "fetch"):
        assert bootstrap.tool_environment({"INPUT_COMMAND": command, name: "hf_x"})[name] == "hf_x"


def test_nothing_is_imported_from_the_checkout(bootstrap: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "msgspec.py").write_text("raise SystemExit('imported from the checkout')")
    (tmp_path / "aprqa_ci.py").write_text("raise SystemExit('imported from the checkout')")
    hostile = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "x", "OTHER": "kept"}
    environment = bootstrap.tool_environment(hostile)
    assert environment["OTHER"] == "kept"
    assert "PYTHONSTARTUP" not in environment
    done = subprocess.run(
        [sys.executable, "-m", "aprqa_ci", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_environment_is_made_once_and_found_again(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def install(directory: Path, lock: Path) -> None:
        made.append((directory, lock))
        (directory / "bin").mkdir(parents=True)
        (directory / "bin" / "python").touch()

    monkeypatch.setattr(bootstrap, "_install", install)
    lock = tmp_path / "run.txt"
    lock.write_text("a")
    places = {"RUNNER_TEMP": str(tmp_path)}
    first = bootstrap.environment_python(lock, places=places)
    assert bootstrap.environment_python(lock, places=places) == first
    assert len(made) == 1
    lock.write_text("b")
    assert bootstrap.environment_python(lock, places=places) != first
    kept = {**places, "APRQA_VENVS": str(tmp_path / "kept")}
    assert bootstrap.environment_python(lock, places=kept).is_relative_to(tmp_path / "kept")


def test_half_an_environment_is_not_left(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(directory: Path, lock: Path) -> None:
        (directory / "bin").mkdir(parents=True)
        raise bootstrap.InstallationError(lock.name)

    monkeypatch.setattr(bootstrap, "_install", install)
    lock = tmp_path / "run.txt"
    lock.write_text("a")
    with pytest.raises(bootstrap.InstallationError):
        bootstrap.environment_python(lock, places={"RUNNER_TEMP": str(tmp_path / "temp")})
    assert list((tmp_path / "temp").iterdir()) == []


def test_what_cannot_be_installed_is_one_clear_error() -> None:
    done = subprocess.run(
        [sys.executable, "-I", SCRIPTS / "bootstrap.py"],
        env={"PATH": os.environ["PATH"], "RUNNER_TEMP": "/dev/null/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout.startswith("::error title=aprqa could not be installed::")
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr


def run_sh(tmp_path: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/sh", SCRIPTS / "run.sh"],
        env={"RUNNER_TEMP": str(tmp_path), "RUNNER_TOOL_CACHE": str(tmp_path), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with what a bare runner has."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "dirname").symlink_to("/usr/bin/dirname")
    return directory


def old_python(directory: Path) -> None:
    program = directory / "python3"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)


def test_no_python_is_one_clear_error(tmp_path: Path, bare: Path) -> None:
    done = run_sh(tmp_path, PATH=str(bare))
    assert done.returncode == 2
    assert done.stdout.startswith("::error title=aprqa needs Python 3.11 or newer::")
    assert done.stderr == ""


def test_a_newer_python_beside_an_old_one_is_found(tmp_path: Path, bare: Path) -> None:
    old_python(bare)
    newer = bare / "python3.12"
    newer.write_text('#!/bin/sh\nif [ "$1" = -I ]; then echo "chosen $2"; fi\n')
    newer.chmod(0o755)
    done = run_sh(tmp_path, PATH=str(bare))
    assert done.stdout.startswith("chosen ")
    assert done.stdout.endswith("bootstrap.py\n")


def test_the_python_that_was_named_is_taken_or_refused(tmp_path: Path, bare: Path) -> None:
    old_python(bare)
    done = run_sh(tmp_path, PATH=str(bare), INPUT_PYTHON=str(bare / "python3"))
    assert done.returncode == 2
    assert "The input python" in done.stdout
