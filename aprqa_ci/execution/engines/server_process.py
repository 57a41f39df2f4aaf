"""A server that an engine starts beside itself: its process group, its log, its readiness, its end.

The server leads a process group of its own, so that whatever it starts ends with it, and on Linux
the kernel kills it when the process that started it dies, however that dies. What it writes is
passed on to standard error, where it becomes evidence, and its end is kept to be quoted.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

__all__ = [
    "ServerEndedError",
    "ServerNotReadyError",
    "ServerProcess",
    "die_with_parent",
]

MAX_LOG_BYTES: Final = 64 << 10
"""How much of the end of a server's log is kept."""

_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ServerEndedError(Exception):
    """The server ended by itself."""

    def __init__(self, returncode: int, log: str) -> None:
        super().__init__(f"the server ended with code {returncode}")
        self.returncode = returncode
        """The exit code; minus the signal's number when a signal ended it."""
        self.log = log


class ServerNotReadyError(Exception):
    """The server did not become ready in time; it has been stopped."""

    def __init__(self, seconds: float, log: str) -> None:
        super().__init__(f"the server was not ready within {seconds:g} s")
        self.log = log


class ServerProcess:
    """A started server.

    Args:
        command: the program and its arguments; no shell reads them.
        environment: the whole environment of the server.
        grace_s: how long it may take to end in good order before it is killed.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], grace_s: float = 5.0
    ) -> None:
        self._grace_s = grace_s
        self._log = bytearray()
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            process_group=0,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, and no lock is taken
        )
        self._reader = threading.Thread(target=self._pump, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id, which is the group's id as well."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, or nothing while it runs."""
        return self._process.poll()

    @property
    def log(self) -> str:
        """The end of what it has written so far."""
        with self._lock:
            return self._log.decode("utf-8", "replace")

    def await_ready(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Wait until ``ready`` says so.

        Raises:
            ServerEndedError: it ended instead.
            ServerNotReadyError: it took too long, and is stopped now.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.require_running()
            if ready():
                # Whoever answered may be another program that was given the same port.
                self.require_running()
                return
            if time.monotonic() > deadline:
                self.stop()
                raise ServerNotReadyError(timeout_s, self.log)
            time.sleep(_POLL_S)

    def require_running(self, *, patience_s: float = 0.0) -> None:
        """Make sure that it has not ended.

        Args:
            patience_s: how long its end is waited for: a connection breaks off before the process
                that held it is gone.

        Raises:
            ServerEndedError: it has.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(patience_s)
            self._reader.join(self._grace_s)
            raise ServerEndedError(code, self.log)

    def stop(self) -> None:
        """End the whole group: ask, wait, kill; safe to call twice."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._grace_s)
        # What it has started may outlive it. Only the leader's number is ours until it is reaped,
        # and a group keeps that number as long as it has a member.
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(self._grace_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _pump(self) -> None:
        """Pass on what it writes, so that it never waits for a reader."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it was opened as a pipe
        with pipe:
            while chunk := os.read(pipe.fileno(), 1 << 16):
                with self._lock:
                    self._log += chunk
                    del self._log[:-MAX_LOG_BYTES]
                with contextlib.suppress(OSError, ValueError):
                    os.write(2, chunk)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies (Linux only).

    For the moment between ``fork`` and ``exec``. Of a parent with threads, the thread counts.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
