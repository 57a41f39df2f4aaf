"""The child process of a cell: holds the engine and the model, and answers its parent.

Started as ``python -m aprqa_ci.execution.worker REPLY_FD PARENT_PID``. Requests come on stdin,
replies go to REPLY_FD; stdout belongs to nobody, for engines print there.
"""

import os
import signal
import sys
import traceback
from contextlib import suppress

import msgspec

from aprqa_ci.execution.desk import Desk
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    ModelLoadError,
    NotOfferedError,
    PromptRefusedError,
    UnknownArchitectureError,
)
from aprqa_ci.execution.processes import die_with_parent
from aprqa_ci.execution.protocol import (
    Absent,
    Broken,
    EngineFailed,
    LoadFailed,
    NotOffered,
    OutOfMemory,
    Refused,
    Reply,
    Request,
    decode_request,
    encode,
)

__all__ = ["main"]

_MAX_MESSAGE = 4000


def main(arguments: list[str]) -> int:
    """Serve requests until stdin ends; returns the exit code."""
    reply_fd, parent = int(arguments[0]), int(arguments[1])
    _follow(parent)
    # What an engine starts must not hold the pipe open: its end tells the parent of our death.
    os.set_inheritable(reply_fd, False)  # noqa: FBT003 - the function takes no keyword
    # The terminal's Ctrl-C is the parent's affair; it ends this process group itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Desk() as desk, os.fdopen(reply_fd, "wb", buffering=0) as replies:
        for line in sys.stdin.buffer:
            _write(replies.fileno(), _encoded(_reply_to(desk, decode_request(line))) + b"\n")
    return 0


def _reply_to(desk: Desk, request: Request) -> Reply:
    try:
        return desk.handle(request)
    except PromptRefusedError as error:
        return Refused(message=_short(error))
    except EngineFailedError as error:
        return EngineFailed(message=_short(error))
    except NotOfferedError as error:
        return NotOffered(message=_short(error))
    except ModelLoadError as error:
        return LoadFailed(message=_short(error))
    except UnknownArchitectureError as error:
        return Absent(message=_short(error), architecture=True)
    except EngineAbsentError as error:
        return Absent(message=_short(error))
    except MemoryError as error:
        return OutOfMemory(message=_short(error) or "out of memory")
    except Exception:  # noqa: BLE001 - whatever else fails here is our own fault, and is said so
        return Broken(message=traceback.format_exc(limit=-8)[-_MAX_MESSAGE:])


def _encoded(reply: Reply) -> bytes:
    try:
        return encode(reply)
    except UnicodeEncodeError as error:
        # Half a surrogate pair, as names of files that are not UTF-8 have it.
        return encode(Broken(message=f"a reply that is not Unicode: {error.reason}"))


def _short(error: BaseException) -> str:
    return str(error)[:_MAX_MESSAGE]


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _follow(parent: int) -> None:
    die_with_parent()
    if os.getppid() != parent:
        # The parent died before the request above was in force.
        sys.exit(1)


if __name__ == "__main__":
    with suppress(BrokenPipeError, msgspec.DecodeError):
        sys.exit(main(sys.argv[1:]))
