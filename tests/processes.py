"""Looking at processes from outside (Linux)."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["alive", "children_of", "until", "workers_of", "workers_started_by"]

_WORKER = b"aprqa_ci.execution.worker"


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    return _stat(pid)[0] not in {"", "Z", "X"}


def children_of(pid: int) -> list[int]:
    """Return the processes that the process started and that still run."""
    return [each for each in _pids() if _stat(each)[1] == pid and alive(each)]


def workers_of(pid: int) -> list[int]:
    """Return the cell processes among the children of a process."""
    return [each for each in children_of(pid) if _WORKER in _command(each)]


def workers_started_by(pid: int) -> list[int]:
    """Return the cell processes that a process started, even if it is gone by now."""
    return [
        each
        for each in _pids()
        if _WORKER in (command := _command(each))
        and command.rstrip(b"\0").split(b"\0")[-1] == str(pid).encode()
        and alive(each)
    ]


def until(holds: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until something holds; say whether it came to that."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _pids() -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


def _stat(pid: int) -> tuple[str, int]:
    """Return state and parent; nothing and 0 when there is no such process."""
    with suppress(OSError, IndexError):
        # The name stands in brackets and may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode(), int(fields[1])
    return "", 0


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
