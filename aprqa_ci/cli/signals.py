"""Signals as errors, so that an interrupted run ends in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aprqa_ci.errors import InterruptedRunError, TerminatedRunError

__all__ = ["signals_as_errors"]


@contextmanager
def signals_as_errors(*, last: bool = False) -> Iterator[None]:
    """Raise an error of ours in the main thread for SIGINT and SIGTERM while the block runs.

    The first signal ends the run; more of them are ignored, for they would cut short the ending of
    child processes and the closing of the journal, which take at most seconds.

    Args:
        last: whether the process ends with the block. A signal that comes after the first is then
            ignored to the very end; otherwise what was in force before the block is so again.
    """
    first: list[int] = []

    def ended(number: int, frame: FrameType | None) -> None:
        del frame
        first.append(number)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if number == signal.SIGINT:
            msg = "interrupted; what was recorded is kept, go on with --resume"
            raise InterruptedRunError(msg)
        msg = "terminated; what was recorded is kept, go on with --resume"
        raise TerminatedRunError(msg)

    before = {number: signal.signal(number, ended) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if not (last and first):
            for number, handler in before.items():
                signal.signal(number, handler)
