"""A server that an engine starts beside itself: its port, log, readiness and end.

It stays in the process group of the cell's child. Whatever ends the cell kills that group, and the
server with all that it started; a group of its own would leave the server's workers alive then. On
Linux the kernel kills it as well when the process that started it dies, however that dies. What a
server that ends in good order has left behind is known by descent and by a mark in its environment.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

from aprqa_ci.execution.processes import (
    descendants,
    die_with_parent,
    has_variable,
    kill_all,
    process_ids,
)
from aprqa_ci.redaction import without_torn_word

__all__ = [
    "HIDDEN_GPUS",
    "MAX_LOG_BYTES",
    "MAX_PASSED_ON_BYTES",
    "ServerEndedError",
    "ServerNotReadyError",
    "ServerProcess",
    "last_words",
    "start_server",
]

HIDDEN_GPUS: Final[Mapping[str, str]] = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "ONEAPI_DEVICE_SELECTOR": "*:cpu",
    "GGML_VK_VISIBLE_DEVICES": "",
}
"""The environment in which no GPU is seen."""

MAX_LOG_BYTES: Final = 64 << 10
"""How much of the end of a server's log is kept."""

MAX_PASSED_ON_BYTES: Final = 64 << 20
"""How much of a server's log is passed on, to a file on this machine's disk."""

_QUOTED_CHARS = 2000
_MARK_VARIABLE = "APRQA_SERVER_MARK"
_POLL_S = 0.05
_PORTS_TRIED = 3
_PORT_TAKEN = "address already in use"


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
        self.command = tuple(command)
        """The program and its arguments."""
        self._grace_s = grace_s
        self._log = bytearray()
        self._passed_on = 0
        self._lock = threading.Lock()
        self._mark = secrets.token_hex(16)
        self._stopped = False
        self._process = subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, _MARK_VARIABLE: self._mark},
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, and no lock is taken
        )
        self._reader = threading.Thread(target=self._pump, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id."""
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
        """End the server and what it has started: ask, wait, kill; safe to call twice."""
        if self._stopped:
            return
        started = descendants(self._process.pid)
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self._grace_s)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        # What it has started may outlive it, under another parent.
        marked = {each for each in process_ids() if has_variable(each, _MARK_VARIABLE, self._mark)}
        kill_all(started | marked)
        self._reader.join(self._grace_s)
        self._stopped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _pump(self) -> None:
        """Pass on what it writes, so that it never waits for a reader."""
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - it was opened as a pipe
        with pipe:
            while chunk := os.read(pipe.fileno(), 1 << 16):
                with self._lock:
                    self._log += chunk
                    del self._log[:-MAX_LOG_BYTES]
                self._pass_on(chunk)

    def _pass_on(self, chunk: bytes) -> None:
        if self._passed_on > MAX_PASSED_ON_BYTES:
            return
        self._passed_on += len(chunk)
        if self._passed_on > MAX_PASSED_ON_BYTES:
            chunk = b"\n(the server's log is too long, and not passed on any more)\n"
        with contextlib.suppress(OSError, ValueError):
            os.write(2, chunk)


def last_words(log: str) -> str:
    """Return the end of a log, as long as a message may quote it."""
    text = log.strip()
    if len(text) > _QUOTED_CHARS:
        text = without_torn_word(text[-_QUOTED_CHARS:])
    return text or "it wrote nothing"


def start_server(
    command: Callable[[int], Sequence[str]],
    ready: Callable[[str], Callable[[], bool]],
    *,
    environment: Mapping[str, str],
    timeout_s: float,
) -> tuple[ServerProcess, str]:
    """Start a server on a free port of 127.0.0.1, and wait until it is ready.

    Another port is tried where another program has taken the one that was free.

    Args:
        command: the program and its arguments, by the port.
        ready: what asks whether it is ready, by its address.
        environment: the whole environment of the server.
        timeout_s: how long it may take to be ready.

    Returns:
        The server and its address.

    Raises:
        OSError: it cannot be started.
        ServerEndedError: it ended instead.
        ServerNotReadyError: it took too long.
    """
    for attempt in range(1, _PORTS_TRIED + 1):
        port = _free_port()
        base_url = f"http://127.0.0.1:{port}"
        with contextlib.ExitStack() as starting:
            server = starting.enter_context(ServerProcess(command(port), environment=environment))
            try:
                server.await_ready(ready(base_url), timeout_s=timeout_s)
            except ServerEndedError as error:
                if _PORT_TAKEN not in error.log.lower() or attempt == _PORTS_TRIED:
                    raise
            else:
                starting.pop_all()
                return server, base_url
    raise AssertionError


def _free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
