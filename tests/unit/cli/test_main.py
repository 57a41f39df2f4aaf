import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from aprqa_ci import __version__
from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.cli import main
from aprqa_ci.cli.main import cli
from aprqa_ci.errors import (
    AprqaError,
    InconclusiveError,
    InputError,
    InterruptedRunError,
    ModelFellShortError,
    Problem,
    TerminatedRunError,
)

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa

REPOSITORY = Path(__file__).resolve().parents[3]
PROMISED = {
    "certify", "plan", "run", "merge", "score", "report", "register", "validate", "engines",
    "gates", "facts", "tiers",
}  # fmt: skip
COMMANDS = cli.list_commands(click.Context(cli))


def test_the_commands_are_those_that_were_promised(aprqa: "Aprqa") -> None:
    ended = aprqa("--help")
    assert ended.code == 0
    listed = re.findall(r"^  ([a-z]+)  ", ended.out, re.MULTILINE)
    assert listed == COMMANDS
    assert set(COMMANDS) >= PROMISED
    assert "Exit codes: 0 done" in ended.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(aprqa: "Aprqa", name: str) -> None:
    for option in ("--help", "-h"):
        ended = aprqa(name, option)
        assert ended.code == 0
        assert ended.out.startswith(f"Usage: aprqa {name}")
        assert ended.err == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_word_of_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help
    options = [each for each in command.params if isinstance(each, click.Option)]
    silent = {each.name for each in options if not each.help}
    assert silent <= {"policy"}


def test_the_version_is_told(aprqa: "Aprqa") -> None:
    ended = aprqa("--version")
    assert (ended.code, ended.out) == (0, f"aprqa, version {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: aprqa"),
        (["certfy"], "No such command 'certfy'"),
        (["certify"], "Missing argument 'PLAYBOOK...'"),
        (["certify", "x", "--tire", "mvp"], "--tire"),
        (["certify", "x", "--workers", "0"], "is not in the range 1<=x<=64"),
        (["certify", "x", "--backend", "tpu"], "'tpu' is not one of 'cpu', 'gpu'"),
        (["merge", "nowhere", "--plan", "p", "-o", "o"], "'nowhere' does not exist"),
        (["score", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_wrong_usage_is_bad_input(aprqa: "Aprqa", arguments: list[str], message: str) -> None:
    ended = aprqa(*arguments)
    assert ended.code == 2
    assert message in ended.err + ended.out
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError([Problem(what="one", path="a", line=2), Problem(what="two")]), 2, 2),
        (ModelFellShortError(), 1, 0),
        (InconclusiveError(), 3, 0),
        (InconclusiveError("no memory"), 3, 1),
        (AprqaError("damaged"), 3, 1),
        (InterruptedRunError("interrupted"), 130, 1),
        (TerminatedRunError("terminated"), 143, 1),
    ],
)
def test_every_way_of_ending_has_its_exit_code(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch, error: AprqaError, code: int, said: int
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(main.cli, "main", fail)
    ended = aprqa("tiers")
    assert ended.code == code
    assert ended.err.count("error: ") == said
    assert ended.out == ""


@pytest.mark.parametrize(
    "arguments", [["gates"], ["gates", "--json"], ["tiers", "--json"], ["--help"]]
)
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    gone, pipe = os.pipe()
    os.close(gone)
    done = subprocess.run(
        [sys.executable, "-m", "aprqa_ci", *arguments],
        stdout=pipe,
        stderr=subprocess.PIPE,
        check=False,
        cwd=REPOSITORY,
    )
    os.close(pipe)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_verdict_does_not_depend_on_its_reader(blocked: Bundle) -> None:
    gone, pipe = os.pipe()
    os.close(gone)
    for options in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "aprqa_ci", "score", str(blocked.directory), *options],
            stdout=pipe,
            check=False,
            cwd=REPOSITORY,
        )
        assert done.returncode == 1
    os.close(pipe)


def test_the_package_is_the_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aprqa_ci", "tiers", "--jsn"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 2
    assert "No such option" in done.stderr


def test_help_loads_no_command() -> None:
    code = (
        "import sys; from aprqa_ci.cli.main import run; run(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('rich', 'numpy', 'aprqa_ci.planning')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0


def test_a_failing_machine_is_no_verdict_and_no_traceback(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aprqa_ci.cli.catalogues.load_tiers", full)
    ended = aprqa("tiers")
    assert ended.code == 3
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err


def test_a_fault_of_ours_is_no_verdict_and_no_traceback(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        int("a\x1b[31m")

    monkeypatch.setattr("aprqa_ci.cli.catalogues.load_tiers", break_down)
    ended = aprqa("tiers")
    assert ended.code == 3
    assert "a fault of aprqa and says nothing about the model, there is no verdict" in ended.err
    assert "ValueError: invalid literal" in ended.err
    assert re.search(r"cli/test_main\.py:\d+, from .*cli/catalogues\.py:\d+", ended.err)
    assert "\x1b[31m" not in ended.err
    assert "Traceback" not in ended.err
