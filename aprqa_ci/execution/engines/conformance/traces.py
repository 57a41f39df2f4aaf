"""Finding the processes that an engine has left behind, from outside (Linux).

A process is known as a child's by descent while the child lives, and afterwards by a mark in its
environment: whatever an engine starts inherits that, unless it is at pains not to.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["MARK_VARIABLE", "descendants", "end_processes", "left_of", "traceable"]

MARK_VARIABLE = "APRQA_CONFORMANCE_MARK"
"""The environment variable that marks a child and all that it starts."""

_GONE_WITHIN_S = 3.0
_POLL_S = 0.02
_PROC = Path("/proc")


def traceable() -> bool:
    """Whether processes can be looked at here."""
    return sys.platform == "linux" and (_PROC / "self" / "environ").exists()


def descendants(pid: int) -> frozenset[int]:
    """Return the living processes that a process started, and those that they started."""
    parents = {each: _state(each)[1] for each in _pids()}
    found = {pid}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return frozenset(each for each in found - {pid} if _alive(each))


def left_of(mark: str, known: frozenset[int] = frozenset()) -> dict[int, str]:
    """Return the processes with that mark, or of those known, that do not end by themselves.

    Returns:
        The command of each by its process id; empty when all ended within a few seconds.
    """
    deadline = time.monotonic() + _GONE_WITHIN_S
    while left := {
        pid: _command(pid)
        for pid in _pids()
        if (pid in known or _marked(pid, mark)) and _alive(pid)
    }:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return left


def end_processes(pids: Iterator[int] | dict[int, str]) -> None:
    """Kill processes that were left."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _pids() -> Iterator[int]:
    with suppress(OSError):
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                yield int(entry.name)


def _state(pid: int) -> tuple[str, int]:
    """Return state and parent; nothing and 0 when there is no such process."""
    with suppress(OSError, IndexError, ValueError):
        # The name stands in brackets and may hold anything.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode("ascii"), int(fields[1])
    return "", 0


def _alive(pid: int) -> bool:
    return _state(pid)[0] not in {"", "Z", "X"}


def _marked(pid: int, mark: str) -> bool:
    with suppress(OSError):
        entries = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return f"{MARK_VARIABLE}={mark}".encode() in entries
    return False


def _command(pid: int) -> str:
    with suppress(OSError):
        data = (_PROC / str(pid) / "cmdline").read_bytes()
        return data.replace(b"\0", b" ").decode("utf-8", "replace").strip()[:120]
    return ""
