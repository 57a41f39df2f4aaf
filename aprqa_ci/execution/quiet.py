"""Keeping the machine quiet while a cell is timed.

Questions of several cells may run side by side; while one cell measures speed, all others wait. A
measurement that waits is served before questions that come later, or it would wait for ever.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

__all__ = ["Quiet"]


class Quiet:
    """A lock that many may share for asking, and one may hold alone for timing."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._asking = 0
        self._timing = False
        self._waiting = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Hold the lock together with others who ask."""
        with self._condition:
            self._condition.wait_for(lambda: not self._timing and self._waiting == 0)
            self._asking += 1
        try:
            yield
        finally:
            with self._condition:
                self._asking -= 1
                self._condition.notify_all()

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._condition:
            self._waiting += 1
            try:
                self._condition.wait_for(lambda: not self._timing and self._asking == 0)
            finally:
                self._waiting -= 1
            self._timing = True
        try:
            yield
        finally:
            with self._condition:
                self._timing = False
                self._condition.notify_all()
