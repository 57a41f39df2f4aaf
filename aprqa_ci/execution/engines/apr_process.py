"""Finding the ``apr`` tool and running its commands, each with a limit of time and size."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from aprqa_ci.execution.engines.apr_cli import AprCompleted, quote
from aprqa_ci.execution.engines.server_process import HIDDEN_GPUS
from aprqa_ci.execution.processes import die_with_parent
from aprqa_ci.plain_text import strip_ansi
from aprqa_ci.redaction import is_withheld

__all__ = [
    "AprAbsentError",
    "AprTimeoutError",
    "AprTool",
    "find_apr",
    "private_environment",
    "pulling_environment",
    "run_apr",
]

MAX_OUTPUT_BYTES: Final = 16 << 20
"""The most that is read of either output; a tool that writes more is ended."""

_VERSION = re.compile(r"^apr(?:-cli)?\s+v?(\d+\.\d+\S*)", re.MULTILINE)
_COMMANDS = re.compile(r"^ {2,}([a-z][a-z-]*)\b", re.MULTILINE)
_OWN_COMMANDS = frozenset({"run", "inspect", "validate", "rosetta"})
"""Commands that the tool has and no other program of its name would have together."""
_POLL_S = 0.1
_CACHES: Final = (
    "HF_HOME",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_CACHE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)
"""What says that caches are elsewhere than in the home."""
_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the name of a variable


class AprAbsentError(Exception):
    """There is no ``apr`` here that can be started; never the model's fault."""


class AprTimeoutError(Exception):
    """A command did not end in time, or wrote without end; its whole group has been killed."""


@dataclass(frozen=True, kw_only=True)
class AprTool:
    """An ``apr`` that was found and is the real one."""

    path: Path
    version: str
    commands: frozenset[str]
    """The names of its commands, as its help lists them."""


@contextlib.contextmanager
def private_environment(
    environment: Mapping[str, str], *, gpu: bool = False
) -> Iterator[dict[str, str]]:
    """Give the tool an environment with an empty home, and no network to fetch models by.

    It looks into caches of other programs, and has been seen to take another model's tokenizer
    there.

    Args:
        environment: the environment variables.
        gpu: whether it may see GPUs. ``--no-gpu`` has been seen to be ignored; a device that is
            hidden cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="aprqa-apr-") as home:
        kept = {name: value for name, value in environment.items() if name not in _CACHES}
        hidden = {} if gpu else HIDDEN_GPUS
        yield {**kept, "HOME": home, "HF_HUB_OFFLINE": "1", **hidden}


def pulling_environment(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the environment in which the tool fetches: a home of its own, and a token of the hub.

    No other secret is handed to it.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if name not in _CACHES and (name == _TOKEN or not is_withheld(name))
    }
    return {**kept, "HOME": str(home)}


def find_apr(
    binary: str | None, environment: Mapping[str, str], *, timeout_s: float = 10.0
) -> AprTool:
    """Find the tool and make sure that what answers is it.

    Other programs and packages share its name, so it must say its version as ``apr`` and list
    commands that only it has.

    Args:
        binary: a path or a name; ``apr`` unless given.
        environment: the environment variables, for ``PATH``.
        timeout_s: how long it may take to say who it is.

    Raises:
        AprAbsentError: it is not there, cannot be started, or is something else.
    """
    name = binary or "apr"
    found = shutil.which(name, path=environment.get("PATH", os.defpath))
    if found is None:
        what = f"there is no program {name!r}" + ("" if os.sep in name else " on the PATH")
        raise AprAbsentError(what)
    path = Path(found).absolute()
    try:
        said = run_apr(path, ("--version",), environment=environment, timeout_s=timeout_s)
        listed = run_apr(path, ("--help",), environment=environment, timeout_s=timeout_s)
    except AprTimeoutError as error:
        what = f"{path} does not answer --version: {error}"
        raise AprAbsentError(what) from error
    version = _VERSION.search(strip_ansi(said.stdout))
    if said.returncode != 0 or version is None:
        what = f"{path} is not the apr tool: --version answers {quote(said.stdout) or 'nothing'!r}"
        raise AprAbsentError(what)
    commands = frozenset(_COMMANDS.findall(strip_ansi(listed.stdout)))
    if lacking := sorted(_OWN_COMMANDS - commands):
        what = f"{path} is not the apr tool: its help has no command {', '.join(lacking)}"
        raise AprAbsentError(what)
    return AprTool(path=path, version=version[1], commands=commands)


def run_apr(
    path: Path,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    timeout_s: float,
    stdin: str = "",
) -> AprCompleted:
    """Run one command to its end.

    Args:
        path: the program.
        arguments: what follows its name.
        environment: its whole environment.
        timeout_s: how long it may take.
        stdin: what it reads.

    Raises:
        AprAbsentError: it cannot be started.
        AprTimeoutError: it took too long or wrote too much.
    """
    command = (str(path), *arguments)
    with contextlib.ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin.encode("utf-8", "replace"))
        given.seek(0)
        started = time.perf_counter()
        try:
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=out,
                stderr=err,
                env=dict(environment),
                process_group=0,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, and no lock is taken
            )
        except (OSError, ValueError) as error:
            what = f"{path} cannot be started: {error}"
            raise AprAbsentError(what) from error
        try:
            _await_end(process, (out, err), timeout_s)
        finally:
            # Whatever it has started ends with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return AprCompleted(
            command=command,
            returncode=process.returncode,
            stdout=_text(out),
            stderr=_text(err),
            duration_ms=(time.perf_counter() - started) * 1000,
        )


def _await_end(
    process: subprocess.Popen[bytes], outputs: Sequence[IO[bytes]], timeout_s: float
) -> None:
    """Wait for a process that writes to files; nothing that it has started can hold us up."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
            return
        if any(os.fstat(each.fileno()).st_size > MAX_OUTPUT_BYTES for each in outputs):
            what = f"it wrote more than {MAX_OUTPUT_BYTES} bytes"
            raise AprTimeoutError(what)
        if time.monotonic() > deadline:
            what = f"it did not end within {timeout_s:g} s"
            raise AprTimeoutError(what)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace")
