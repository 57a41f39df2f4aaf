"""The command lines of the ``apr`` tool, and what the end of a command says.

The builders are pure and give what follows the program's name. Starting the tool is the affair of
:mod:`.apr_process`, its outputs that of :mod:`.apr_answers` and :mod:`.apr_reports`.
"""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from aprqa_ci.plain_text import shorten, strip_ansi

__all__ = [
    "AprCompleted",
    "AprEnding",
    "chat_arguments",
    "convert_arguments",
    "ending_of",
    "inspect_arguments",
    "profile_arguments",
    "pull_arguments",
    "quote",
    "run_arguments",
    "serve_arguments",
    "validate_arguments",
]

MAX_QUOTE: Final = 2000
"""The longest quotation of an output in a message."""

_NO_MEMORY = re.compile(
    r"memory allocation of \d+ bytes failed|out of memory|CUDA_ERROR_OUT_OF_MEMORY"
    r"|Cannot allocate memory",
    re.IGNORECASE,
)
_ERROR_LINE = re.compile(r"^(?:error|thread '.*' panicked at|\[PMAT-\d+\] ERROR)", re.IGNORECASE)


class AprEnding(StrEnum):
    """What the end of a command says."""

    DONE = "done"
    LOAD_FAILED = "load-failed"
    """The model's files are missing, damaged, or of a kind that the tool does not take."""
    INFERENCE_FAILED = "inference-failed"
    CRASHED = "crashed"
    """A signal or a panic ended it."""
    NO_MEMORY = "no-memory"
    NOT_OURS = "not-ours"
    """The tool or the machine is at fault: a feature that is not compiled in, arguments that this
    version does not know, the network, the disk."""


_ENDINGS: Final[Mapping[int, AprEnding]] = {
    0: AprEnding.DONE,
    1: AprEnding.INFERENCE_FAILED,  # any error of the library below
    2: AprEnding.NOT_OURS,  # the arguments
    3: AprEnding.LOAD_FAILED,  # file not found, or not a file
    4: AprEnding.LOAD_FAILED,  # invalid format
    5: AprEnding.LOAD_FAILED,  # validation failed
    6: AprEnding.LOAD_FAILED,  # model load failed
    7: AprEnding.NOT_OURS,  # input and output
    8: AprEnding.INFERENCE_FAILED,
    9: AprEnding.NOT_OURS,  # a feature that is not compiled in
    10: AprEnding.NOT_OURS,  # the network
    11: AprEnding.NOT_OURS,  # not found on the network
    101: AprEnding.CRASHED,  # a panic
    126: AprEnding.NOT_OURS,  # could not be started
    127: AprEnding.NOT_OURS,
    134: AprEnding.CRASHED,  # as a shell says SIGABRT
    137: AprEnding.CRASHED,  # SIGKILL
    139: AprEnding.CRASHED,  # SIGSEGV
}
"""The tool's own exit codes (its ``CliError``), and those of Rust and of shells."""


@dataclass(frozen=True, kw_only=True)
class AprCompleted:
    """A command that has ended."""

    command: tuple[str, ...]
    returncode: int
    """The exit code; minus the signal's number when a signal ended it."""
    stdout: str
    stderr: str
    duration_ms: float

    @property
    def ending(self) -> AprEnding:
        """What its end says."""
        return ending_of(self.returncode, self.stderr)

    def describe(self) -> str:
        """Say how it ended, and quote what it said of it."""
        if self.returncode < 0:
            try:
                how = f"was ended by {signal.Signals(-self.returncode).name}"
            except ValueError:
                how = f"was ended by signal {-self.returncode}"
        else:
            how = f"exited with code {self.returncode}"
        said = quote(self.stderr) or quote(self.stdout)
        return f"apr {self.command[1] if len(self.command) > 1 else ''} {how}: {said or 'silent'}"


def ending_of(returncode: int, stderr: str) -> AprEnding:
    """Return what an exit code, or a signal as a negative one, says together with the errors."""
    if returncode != 0 and _NO_MEMORY.search(stderr):
        return AprEnding.NO_MEMORY
    if returncode < 0:
        return AprEnding.CRASHED
    return _ENDINGS.get(returncode, AprEnding.NOT_OURS)


def quote(text: str) -> str:
    """Return what matters of an output: from its first error on, without colours, bounded."""
    lines = strip_ansi(text).strip().splitlines()
    first = next((n for n, line in enumerate(lines) if _ERROR_LINE.match(line)), None)
    said = "\n".join(lines if first is None else lines[first:])
    # Without an error line, what was said last is nearest to the end.
    return shorten(said if first is not None else said[-MAX_QUOTE:], MAX_QUOTE)


def run_arguments(
    model: Path, prompt: str, *, max_tokens: int, no_gpu: bool, benchmark: bool = True
) -> tuple[str, ...]:
    """Return the arguments that answer one prompt.

    Args:
        model: the weights, or the index of their shards.
        prompt: handed over as it is; the tool may put the model's chat template around it.
        max_tokens: the most tokens of the answer.
        no_gpu: whether to compute on the processor.
        benchmark: as the existing tool has it. Then every recorded answer is figures alone, and the
            text is not shown.
    """
    return (
        "run",
        str(model),
        "-p",
        prompt,
        "--max-tokens",
        str(max_tokens),
        *(("--no-gpu",) if no_gpu else ()),
        *(("--benchmark",) if benchmark else ()),
        "--json",
    )


def chat_arguments(model: Path, *, no_gpu: bool) -> tuple[str, ...]:
    """Return the arguments of a conversation; what the user says comes on standard input."""
    return ("chat", str(model), *(("--no-gpu",) if no_gpu else ()), "--json")


def serve_arguments(model: Path, port: int, *, no_gpu: bool) -> tuple[str, ...]:
    """Return the arguments that serve the model on a port of the loopback interface."""
    return ("serve", str(model), "--port", str(port), *(("--no-gpu",) if no_gpu else ()))


def pull_arguments(repo: str) -> tuple[str, ...]:
    """Return the arguments that fetch a model into the tool's cache."""
    return ("pull", "--json", repo)


def validate_arguments(file: Path) -> tuple[str, ...]:
    """Return the arguments that check every tensor of a file."""
    return ("validate", "--strict", "--json", str(file))


def inspect_arguments(file: Path) -> tuple[str, ...]:
    """Return the arguments that describe a file of any format."""
    return ("rosetta", "inspect", "--json", str(file))


def convert_arguments(source: Path, target: Path) -> tuple[str, ...]:
    """Return the arguments of a conversion; the names' endings say the formats."""
    return ("rosetta", "convert", str(source), str(target))


def profile_arguments(
    file: Path,
    *,
    warmup: int,
    measure: int,
    assert_throughput: float | None = None,
    assert_p99_ms: float | None = None,
) -> tuple[str, ...]:
    """Return the arguments that measure a model's speed.

    Args:
        file: the weights.
        warmup: runs that are not counted.
        measure: runs that are.
        assert_throughput: tokens per second that the tool itself is to require.
        assert_p99_ms: the 99th percentile of latency that it is to require, in milliseconds.
    """
    return (
        "profile",
        str(file),
        "--ci",
        "--warmup",
        str(warmup),
        "--measure",
        str(measure),
        "--json",
        *(() if assert_throughput is None else ("--assert-throughput", f"{assert_throughput:g}")),
        *(() if assert_p99_ms is None else ("--assert-p99", f"{assert_p99_ms:g}")),
    )
