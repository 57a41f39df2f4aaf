"""The parent's hold on a cell's child process.

The child is the leader of a process group of its own, so that whatever an engine starts dies with
it. On Linux the kernel kills the child when the parent dies, however that dies.
"""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from aprqa_ci.execution.fetching.offline import offline_environment
from aprqa_ci.execution.host import oom_kills
from aprqa_ci.execution.protocol import Reply, Request, decode_reply, encode
from aprqa_ci.redaction import Redaction, is_withheld, redaction_of, without_torn_word

__all__ = ["CellChild", "ChildDiedError", "ChildTimeoutError", "Children"]

_MAX_STDERR = 16 << 10
_MAX_REPLY = 64 << 20
_CLOSE_SECONDS = 5.0


class ChildTimeoutError(Exception):
    """The child gave no reply in time; its whole group has been killed."""

    def __init__(self, seconds: float, stderr: str) -> None:
        super().__init__(f"no reply within {seconds:g} s")
        self.stderr = stderr


class ChildDiedError(Exception):
    """The child ended instead of replying."""

    def __init__(
        self, returncode: int, stderr: str, *, out_of_memory: bool = False, unreadable: bool = False
    ) -> None:
        self.returncode = returncode
        """The exit code; minus the signal's number when a signal ended it."""
        self.stderr = stderr
        self.out_of_memory = out_of_memory
        """Whether the kernel ended it for want of memory, which is the machine's fault."""
        self._unreadable = unreadable
        super().__init__(self.describe())

    def describe(self) -> str:
        """Say how it ended, with the signal's name."""
        if self._unreadable:
            return "the process wrote an unreadable reply and was ended"
        if self.out_of_memory:
            return "the kernel ended the process for want of memory"
        if self.returncode < 0:
            try:
                name = signal.Signals(-self.returncode).name
            except ValueError:
                name = f"signal {-self.returncode}"
            return f"the process was ended by {name}"
        return f"the process exited with code {self.returncode}"


class Children:
    """The children that live now; what an interrupted run has to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[CellChild] = set()
        self._closed = False

    def add(self, child: "CellChild") -> None:
        """Take note of a child; one that comes after ``kill_all`` is killed at once."""
        with self._lock:
            self._alive.add(child)
            closed = self._closed
        if closed:
            child.kill()

    def remove(self, child: "CellChild") -> None:
        """Forget a child that has ended."""
        with self._lock:
            self._alive.discard(child)

    def kill_all(self) -> None:
        """Kill every child with its group, now and from now on."""
        with self._lock:
            self._closed = True
            alive = tuple(self._alive)
        for child in alive:
            child.kill()


class CellChild:
    """One child process: send a request, get its reply, or learn that it hangs or died."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        threads: int,
        children: Children,
        secrets: tuple[str, ...] = (),
        redaction: Redaction | None = None,
        command: tuple[str, ...] = (sys.executable, "-P", "-m", "aprqa_ci.execution.worker"),
    ) -> None:
        """Start the child.

        Args:
            environment: the parent's environment; secrets in it are not handed on.
            threads: how many threads the engine may use.
            children: where the child is noted while it lives.
            secrets: names of variables that the engine needs although they look like secrets.
            redaction: takes out of what the child says more than ``environment`` tells of.
            command: what to start.

        Raises:
            OSError: the process cannot be started.
        """
        self._children = children
        own = redaction_of(environment, also=secrets)
        self._redaction = own if redaction is None else own | redaction
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*command, str(write_end), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                pass_fds=(write_end,),
                start_new_session=True,
                env=_child_environment(environment, threads, secrets),
            )
        except BaseException:
            os.close(read_end)
            self._stderr.close()
            raise
        finally:
            os.close(write_end)
        assert self._process.stdin is not None  # noqa: S101 - it was opened as a pipe
        self._requests = self._process.stdin
        os.set_blocking(self._requests.fileno(), False)
        self._replies = read_end
        self._buffer = bytearray()
        self._oom_kills = 0
        self._killed = False
        children.add(self)

    def request(self, request: Request, *, timeout_s: float) -> Reply:
        """Send a request and wait for its reply.

        Raises:
            ChildTimeoutError: none came in time; the child is dead now.
            ChildDiedError: the child ended.
        """
        self._oom_kills = oom_kills()
        deadline = time.monotonic() + timeout_s
        self._write(encode(request) + b"\n", deadline, timeout_s)
        line = self._read_line(deadline, timeout_s)
        try:
            reply: Reply = decode_reply(line)
        except msgspec.DecodeError as error:
            # Only a child whose engine scribbles over memory or descriptors can get here.
            self.kill()
            what = self._redaction(str(error))
            raise ChildDiedError(
                self._process.returncode, f"{what}\n{self.stderr()}", unreadable=True
            ) from error
        return self._redaction.of(reply)

    def _write(self, data: bytes, deadline: float, timeout_s: float) -> None:
        # A child that hangs reads nothing, and a long prompt does not fit the pipe.
        view = memoryview(data)
        while view:
            self._wait(self._requests.fileno(), select.POLLOUT, deadline, timeout_s)
            try:
                view = view[os.write(self._requests.fileno(), view) :]
            except BrokenPipeError:
                raise self._died() from None

    def _wait(self, descriptor: int, event: int, deadline: float, timeout_s: float) -> None:
        """Wait until the descriptor is ready or its other end is closed."""
        waiting = select.poll()
        waiting.register(descriptor, event)
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not waiting.poll(remaining * 1000):
            self.kill()
            raise ChildTimeoutError(timeout_s, self.stderr())

    def _read_line(self, deadline: float, timeout_s: float) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            self._wait(self._replies, select.POLLIN, deadline, timeout_s)
            chunk = os.read(self._replies, 1 << 16)
            if not chunk or len(self._buffer) > _MAX_REPLY:
                raise self._died()
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _died(self) -> ChildDiedError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_CLOSE_SECONDS)
        self.kill()
        code = self._process.returncode
        return ChildDiedError(
            code,
            self.stderr(),
            out_of_memory=code == -signal.SIGKILL and oom_kills() > self._oom_kills,
        )

    def stderr(self) -> str:
        """Return the end of what the child and its engine wrote to stderr."""
        if self._stderr.closed:
            return ""
        # pread, for the child writes through the same file offset.
        descriptor = self._stderr.fileno()
        start = max(0, os.fstat(descriptor).st_size - _MAX_STDERR)
        text = os.pread(descriptor, _MAX_STDERR, start).decode("utf-8", "replace")
        return self._redaction(without_torn_word(text) if start else text)

    @property
    def pid(self) -> int:
        """The process id, which is the group's id as well."""
        return self._process.pid

    def kill(self) -> None:
        """End the whole process group now."""
        if self._killed:
            # Its number may belong to somebody else by now.
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._killed = True
        self._children.remove(self)

    def close(self) -> int | None:
        """Let the child end in good order, and end what is left of its group.

        Returns:
            The exit code, or nothing when it did not end by itself in time.
        """
        code = None
        with suppress(OSError):
            self._requests.close()
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=_CLOSE_SECONDS)
        self.kill()
        if self._replies >= 0:
            os.close(self._replies)
            self._replies = -1
        self._stderr.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.kill()
        self.close()


def _child_environment(
    environment: Mapping[str, str], threads: int, secrets: tuple[str, ...]
) -> dict[str, str]:
    """Return what engines get: nothing that is withheld, offline, and the thread count."""
    kept = {
        name: value
        for name, value in offline_environment(environment).items()
        if name in secrets or not is_withheld(name)
    }
    count = str(threads)
    return kept | {
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "PYTHONUNBUFFERED": "1",
    }
