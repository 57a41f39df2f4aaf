"""Catching what a native library writes to standard error.

Some libraries report why they failed only there, and only there can it be told whether the model is
damaged or the machine is out of memory: the one is a verdict on the model, the other never is.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

__all__ = ["NativeLog", "caught_stderr"]

_MAX_LOG_BYTES = 1 << 20


class NativeLog:
    """What was written, readable once the block of :func:`caught_stderr` is left."""

    text: str = ""


@contextlib.contextmanager
def caught_stderr() -> Iterator[NativeLog]:
    """Catch all that this process writes to file descriptor 2, and hand it on afterwards.

    It concerns every thread of the process, so it belongs in a cell's own child process only.
    """
    log = NativeLog()
    try:
        saved = os.dup(2)
    except OSError:
        # The process was started without a standard error: there is nothing to catch.
        yield log
        return
    with tempfile.TemporaryFile() as file:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            data = file.read(_MAX_LOG_BYTES)
            log.text = data.decode("utf-8", errors="replace")
            if sys.stderr is not None:
                sys.stderr.write(log.text)
                sys.stderr.flush()
