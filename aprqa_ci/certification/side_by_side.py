"""Doing the same with many things in several processes of this program."""

import gc
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from aprqa_ci.errors import InconclusiveError

__all__ = ["each_in_turn"]

GivenT = TypeVar("GivenT")
MadeT = TypeVar("MadeT")

_work: list[Callable[[int], Any]] = []
"""In a process that was started here: what it does with the thing of a number."""


def each_in_turn(
    make: Callable[[GivenT], MadeT], given: Sequence[GivenT], *, processes: int
) -> Iterator[MadeT]:
    """Yield what is made of each thing given, in their order, whatever the number of processes.

    A process has all that this one has when it starts, so only results are sent from one to the
    other. Where processes cannot start in that way, and for one, everything is done in this one.

    Args:
        make: makes one thing of another; changes nothing that others need.
        given: the things.
        processes: how many work at the same time, at most.

    Raises:
        InconclusiveError: a process was ended, by a machine without memory for example.
        Exception: what ``make`` raises of the first thing that it fails on.
    """
    workers = min(processes, len(given))
    if workers < 2 or sys.platform != "linux":
        yield from map(make, given)
        return
    pool = ProcessPoolExecutor(
        max_workers=workers,
        mp_context=multiprocessing.get_context("fork"),
        initializer=_start,
        initargs=(lambda index: make(given[index]),),
    )
    try:
        yield from pool.map(_nth, range(len(given)))
    except BrokenProcessPool as error:
        msg = "a process was ended from outside; is there memory enough?"
        raise InconclusiveError(msg) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(work: Callable[[int], Any]) -> None:
    # Whoever interrupts, interrupts the parent, which ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What it makes is trees: looking for circles costs a tenth of the time and finds none.
    gc.freeze()
    gc.disable()
    _work[:] = [work]


def _nth(index: int) -> Any:  # noqa: ANN401 - whatever is made
    return _work[0](index)
