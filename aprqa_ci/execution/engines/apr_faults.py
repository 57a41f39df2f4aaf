"""Whose fault it is when the ``apr`` tool does not answer, and how its crashes are passed on."""

import os
import resource
import signal
import sys
from typing import Final, NoReturn, Protocol

from aprqa_ci.execution.engines.apr_answers import AprAnswer, AprAnswerError
from aprqa_ci.execution.engines.apr_cli import AprEnding
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    ModelLoadError,
    NotOfferedError,
)

__all__ = ["PANIC", "EndAs", "end_as", "raise_ending", "raise_no_answer", "require_own"]

PANIC: Final = 101
"""The exit code of a Rust program that panicked."""


class EndAs(Protocol):
    """Ends this process as another one ended."""

    def __call__(self, returncode: int) -> NoReturn:
        """End with an exit code, or by a signal as a negative one."""
        ...


def end_as(returncode: int) -> NoReturn:
    """End this process as the tool's did, so that its crash is the crash of the cell's process.

    The parent then sees what happened without our retelling: the signal, want of memory, and on
    standard error the tool's last words.
    """
    sys.stderr.flush()
    if returncode < 0:
        # The core would be one of ours.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if -returncode not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-returncode, signal.SIG_DFL)
        os.kill(os.getpid(), -returncode)
    os._exit(returncode if 0 < returncode < 256 else PANIC)


def raise_ending(
    ending: AprEnding, returncode: int, what: str, *, loading: bool, crash: EndAs
) -> None:
    """Raise what the end of a command means; a good end raises nothing.

    Args:
        ending: what it says.
        returncode: the exit code or negative signal.
        what: how it ended, with its errors quoted.
        loading: whether the model was just being loaded for the first time.
        crash: called when it crashed.

    Raises:
        ModelLoadError: it could not load the model.
        EngineFailedError: it could not answer with a model that it had loaded before.
        EngineAbsentError: the tool or the machine is at fault.
        MemoryError: there was not enough memory.
    """
    match ending:
        case AprEnding.DONE:
            return
        case AprEnding.NO_MEMORY:
            raise MemoryError(what)
        case AprEnding.CRASHED:
            crash(returncode)
        case AprEnding.NOT_OURS:
            raise EngineAbsentError(what)
        case AprEnding.LOAD_FAILED | AprEnding.INFERENCE_FAILED:
            raise ModelLoadError(what) if loading else EngineFailedError(what)


def raise_no_answer(error: AprAnswerError, *, loading: bool) -> NoReturn:
    """Raise what an output without an answer means.

    Raises:
        ModelLoadError: the tool says, with a good exit code, that it could not load the model.
        EngineFailedError: it says so of answering.
        EngineAbsentError: it answered without the model.
        NotOfferedError: it showed no text, or none in a shape that is known here.
    """
    match error.kind:
        case "error":
            raise (ModelLoadError if loading else EngineFailedError)(str(error)) from error
        case "not-loaded":
            raise EngineAbsentError(str(error)) from error
        case _:
            raise NotOfferedError(str(error)) from error


def require_own(answer: AprAnswer, path: str, *, on_gpu: bool) -> None:
    """Refuse an answer that the tool says came from elsewhere than it should.

    Raises:
        EngineAbsentError: from another file, with another model's tokenizer, or off the device.
    """
    what = ""
    if answer.source is not None and answer.source != path:
        what = f"apr says that it ran {answer.source} and not {path}"
    elif answer.foreign_tokenizer is not None:
        what = f"apr used the tokenizer of another model: {answer.foreign_tokenizer}"
    elif on_gpu and answer.fell_back:
        what = "apr says that it left the GPU for the processor"
    if what:
        raise EngineAbsentError(what)
