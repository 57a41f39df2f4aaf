"""Processes from outside: who started whom, who still lives (Linux), and how they are ended."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

__all__ = [
    "command_of",
    "descendants",
    "die_with_parent",
    "has_variable",
    "is_alive",
    "kill_all",
    "process_ids",
    "traceable",
]

_PR_SET_PDEATHSIG = 1
# Loaded here, for between fork and exec nothing must be loaded.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PROC = Path("/proc")
_MAX_COMMAND = 120


def traceable() -> bool:
    """Whether processes can be looked at here."""
    return sys.platform == "linux" and (_PROC / "self" / "environ").exists()


def process_ids() -> Iterator[int]:
    """Return the ids of all processes; none where they cannot be looked at."""
    with suppress(OSError):
        for entry in _PROC.iterdir():
            if entry.name.isdecimal():
                yield int(entry.name)


def descendants(pid: int) -> frozenset[int]:
    """Return the living processes that a process started, and those that they started."""
    parents = {each: _state(each)[1] for each in process_ids()}
    found = {pid}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return frozenset(each for each in found - {pid} if is_alive(each))


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be taken note of does not."""
    return _state(pid)[0] not in {"", "Z", "X"}


def has_variable(pid: int, name: str, value: str) -> bool:
    """Say whether a process was started with this environment variable."""
    with suppress(OSError):
        entries = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return f"{name}={value}".encode() in entries
    return False


def command_of(pid: int) -> str:
    """Return the command line of a process, shortened; nothing when it is gone."""
    with suppress(OSError):
        data = (_PROC / str(pid) / "cmdline").read_bytes()
        return data.replace(b"\0", b" ").decode("utf-8", "replace").strip()[:_MAX_COMMAND]
    return ""


def kill_all(pids: Iterable[int]) -> None:
    """Kill processes; one that is gone, or is not ours to kill, is passed over."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux only).

    Fit for the moment between ``fork`` and ``exec``. Of a parent with threads, the thread counts.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _state(pid: int) -> tuple[str, int]:
    """Return state and parent; nothing and 0 when there is no such process."""
    with suppress(OSError, IndexError, ValueError):
        # The name stands in brackets and may hold anything.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        return fields[0].decode("ascii"), int(fields[1])
    return "", 0
