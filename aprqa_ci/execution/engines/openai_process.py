"""A server that is started for a session, and ended with all that it started.

It stays in the process group of the cell's child: whatever ends the cell, a time-out included, ends
the server and its workers with it. A session that is closed in good order ends them itself.
"""

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.processes import descendants

__all__ = ["HIDDEN_GPUS", "ServerProcess", "free_port"]

HIDDEN_GPUS: Mapping[str, str] = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "ONEAPI_DEVICE_SELECTOR": "*:cpu",
    "GGML_VK_VISIBLE_DEVICES": "",
}
"""The environment in which no GPU is seen."""

_END_SECONDS = 4.0
_POLL_S = 0.05
_LOG_CHARS = 2000


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class ServerProcess:
    """A started server.

    Args:
        command: the program and its arguments; no shell sees them.
        environment: of the server.

    Raises:
        EngineAbsentError: the program cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
            )
        except OSError as error:
            self._log.close()
            what = f"the server cannot be started: {command[0]}: {error.strerror or error}"
            raise EngineAbsentError(what) from error

    def await_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until the server answers.

        Raises:
            ModelLoadError: it ended, or did not become ready in time; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            code = self._process.poll()
            if code is not None:
                what = f"the server ended with code {code} before it was ready: {self.log()}"
                raise ModelLoadError(what)
            if time.monotonic() > deadline:
                what = f"the server was not ready within {seconds:g} s: {self.log()}"
                raise ModelLoadError(what)
            time.sleep(_POLL_S)

    def log(self) -> str:
        """Return the end of what it wrote."""
        if self._log.closed:
            return ""
        descriptor = self._log.fileno()
        start = max(0, os.fstat(descriptor).st_size - _LOG_CHARS)
        return os.pread(descriptor, _LOG_CHARS, start).decode("utf-8", "replace").strip()

    @property
    def code(self) -> int | None:
        """The exit code, once it has ended by itself."""
        return self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the server and what it started; safe to call twice."""
        if self._log.closed:
            return
        started = descendants(self._process.pid)
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_END_SECONDS)
        for pid in started:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if self.running:
            self._process.kill()
        self._process.wait()
        self._log.close()
