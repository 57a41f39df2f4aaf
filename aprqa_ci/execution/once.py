"""Doing something once per key, however many threads ask for it."""

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

__all__ = ["Once"]

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Once(Generic[KeyT, ValueT]):
    """A memory of values, each made once while other threads that want it wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._locks: dict[KeyT, Lock] = {}
        self._values: dict[KeyT, ValueT | Exception] = {}

    def get(self, key: KeyT, make: Callable[[], ValueT]) -> ValueT:
        """Return the value of the key; ``make`` is called for the first who asks.

        What ``make`` raises is raised to everyone who asks.
        """
        with self._lock:
            lock = self._locks.setdefault(key, Lock())
        with lock:
            if key not in self._values:
                try:
                    self._values[key] = make()
                except Exception as error:  # noqa: BLE001 - kept for everyone, raised below
                    self._values[key] = error
            value = self._values[key]
        if isinstance(value, Exception):
            raise value
        return value
