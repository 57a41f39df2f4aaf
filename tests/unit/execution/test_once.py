from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from aprqa_ci.execution.once import Once

LONG = 20.0


def test_many_threads_share_one_making() -> None:
    once: Once[str, object] = Once()
    together = Barrier(8, timeout=LONG)
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    def get() -> object:
        together.wait()
        return once.get("key", make)

    with ThreadPoolExecutor(8) as pool:
        got = {id(future.result()) for future in [pool.submit(get) for _ in range(8)]}
    assert len(made) == 1
    assert got == {id(made[0])}


def test_what_making_raises_is_raised_to_everyone_and_making_is_not_repeated() -> None:
    once: Once[str, int] = Once()
    calls: list[int] = []

    def fail() -> int:
        calls.append(1)
        raise OSError("the disk is gone")  # noqa: EM101 - a test's own error

    for _ in range(3):
        with pytest.raises(OSError, match="the disk is gone"):
            once.get("key", fail)
    assert calls == [1]


def test_nothing_is_a_value_as_well() -> None:
    once: Once[str, None] = Once()
    calls: list[int] = []
    for _ in range(2):
        once.get("key", lambda: calls.append(1))
    assert calls == [1]


def test_keys_do_not_wait_for_each_other() -> None:
    once: Once[str, int] = Once()
    slow_started, go = Event(), Event()

    def slow() -> int:
        slow_started.set()
        assert go.wait(LONG)
        return 1

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(once.get, "slow", slow)
        assert slow_started.wait(LONG)
        assert once.get("quick", lambda: 2) == 2
        go.set()
        assert future.result() == 1
