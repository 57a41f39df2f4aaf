import os
import subprocess
import sys

import pytest

from aprqa_ci.execution import worker
from aprqa_ci.execution.desk import Desk
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    ModelLoadError,
    NotOfferedError,
    PromptRefusedError,
    UnknownArchitectureError,
)
from aprqa_ci.execution.protocol import (
    Absent,
    Broken,
    CheckHealth,
    EngineFailed,
    Health,
    LoadFailed,
    NotOffered,
    OutOfMemory,
    Refused,
    Reply,
    Request,
    decode_reply,
    encode,
)


class _FailingDesk(Desk):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def handle(self, request: Request) -> Reply:
        del request
        raise self._error


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (PromptRefusedError("too long"), Refused(message="too long")),
        (EngineFailedError("a kernel"), EngineFailed(message="a kernel")),
        (ModelLoadError("cut"), LoadFailed(message="cut")),
        (NotOfferedError("no raw text"), NotOffered(message="no raw text")),
        (EngineAbsentError("no gpu"), Absent(message="no gpu")),
        (UnknownArchitectureError("moe"), Absent(message="moe", architecture=True)),
        (MemoryError("2 GiB"), OutOfMemory(message="2 GiB")),
        (MemoryError(), OutOfMemory(message="out of memory")),
    ],
    ids=lambda each: type(each).__name__,
)
def test_each_error_has_a_reply_that_says_whose_fault_it_is(error: Exception, reply: Reply) -> None:
    assert worker._reply_to(_FailingDesk(error), CheckHealth()) == reply


@pytest.mark.parametrize("error", [KeyError("x"), OSError("disk"), RecursionError(), TypeError()])
def test_any_other_error_is_ours_and_comes_with_its_trace(error: Exception) -> None:
    reply = worker._reply_to(_FailingDesk(error), CheckHealth())
    assert isinstance(reply, Broken)
    assert type(error).__name__ in reply.message
    assert "test_worker.py" in reply.message


def test_long_messages_are_cut() -> None:
    reply = worker._reply_to(_FailingDesk(EngineFailedError("x" * 10**6)), CheckHealth())
    assert isinstance(reply, EngineFailed)
    assert len(reply.message) == 4000


def test_a_reply_that_is_not_unicode_is_our_failure_not_a_crash() -> None:
    reply = decode_reply(worker._encoded(LoadFailed(message="/models/\udcff.gguf: cut")))
    assert isinstance(reply, Broken)
    assert worker._encoded(Health(status=200)) == encode(Health(status=200))


def _run(arguments: list[str], stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "aprqa_ci.execution.worker", *arguments],
        input=stdin,
        capture_output=True,
        timeout=30,
        check=False,
    )


def test_a_worker_whose_parent_is_gone_does_not_begin() -> None:
    done = _run(["1", "999999999"], b"")
    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.parametrize("stdin", [b"", b"not json\n"])
def test_a_worker_ends_in_silence_when_there_is_nothing_to_understand(stdin: bytes) -> None:
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "aprqa_ci.execution.worker", str(write_end), str(os.getpid())],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(write_end,),
    ) as process:
        os.close(write_end)
        _, stderr = process.communicate(stdin, timeout=30)
    with os.fdopen(read_end, "rb") as replies:
        assert replies.read() == b""
    assert process.returncode == 0
    assert stderr == b""
