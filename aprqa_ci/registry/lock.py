"""One writer at a time: a lock file beside the file that is written."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import unwritable

__all__ = ["Process", "file_lock", "lock_path"]

_MAX_LOCK_BYTES = 4096
_PAUSE_SECONDS = 0.05


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@dataclass(frozen=True, kw_only=True)
class Process:
    """Who wants the lock, and how it learns of others."""

    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    is_alive: Callable[[int], bool] = _is_alive
    patience_s: float = 20.0
    """How long a lock that somebody else holds is waited for; updates take milliseconds."""
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def lock_path(path: Path) -> Path:
    """Return the lock file of ``path``: the same name with ``.lock`` behind it."""
    return path.with_name(f"{path.name}.lock")


@contextmanager
def file_lock(path: Path, process: Process) -> Iterator[None]:
    """Hold the lock of ``path`` while the block runs.

    The lock file says which process on which host holds it and since when. It is taken over when
    that process was on this host and is gone; a process on another host is believed. A lock that
    is held is waited for, as long as the process has patience.

    Raises:
        InputError: another process keeps it, or the lock file cannot be written.
        InconclusiveError: the disk is full, failing or read-only.
    """
    lock = lock_path(path)
    deadline = process.clock() + process.patience_s
    try:
        while not _acquired(lock, process):
            if process.clock() >= deadline:
                hint = f"if that process has ended, remove {lock}"
                what = f"locked by {_described(_owner(lock))}; nothing was written"
                raise InputError(Problem(what=what, path=lock, hint=hint))
            process.sleep(_PAUSE_SECONDS)
    except OSError as error:
        raise unwritable(lock, error, what="cannot write the lock file") from error
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _acquired(lock: Path, process: Process) -> bool:
    # Two processes that both find a lock stale must not both remove it: the second would remove
    # the first one's new lock. Whoever looks and removes holds the directory meanwhile.
    directory = os.open(lock.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        if lock.exists() and _is_stale(lock, process):
            lock.unlink()
        return _created(lock, process)
    finally:
        os.close(directory)


def _created(lock: Path, process: Process) -> bool:
    owner = {"pid": process.pid, "host": process.host, "time": process.now().isoformat()}
    try:
        handle = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(owner, stream)
    except BaseException:
        # On a full disk; a lock that names nobody would be believed for ever.
        lock.unlink(missing_ok=True)
        raise
    return True


def _owner(lock: Path) -> dict[str, Any]:
    """Read who holds the lock; nothing where the file does not say."""
    try:
        with lock.open("rb") as stream:
            owner = json.loads(stream.read(_MAX_LOCK_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_stale(lock: Path, process: Process) -> bool:
    owner = _owner(lock)
    pid = owner.get("pid")
    if owner.get("host") != process.host or not isinstance(pid, int) or pid <= 0:
        return False
    return not process.is_alive(pid)


def _described(owner: dict[str, Any]) -> str:
    if not owner:
        return "an unknown process"
    pid, host, time = (str(owner.get(key, "?"))[:64] for key in ("pid", "host", "time"))
    return f"process {pid!r} on {host!r} since {time!r}"
