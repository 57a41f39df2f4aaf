import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock

import pytest

from aprqa_ci.execution.quiet import Quiet

LONG = 20.0
MOMENT = 0.05


def _start(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_many_may_ask_at_once() -> None:
    quiet = Quiet()
    together = threading.Barrier(3, timeout=LONG)

    def ask() -> int:
        with quiet.asking():
            return together.wait()

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask) for _ in range(3)]
    assert {future.result() for future in asked} == {0, 1, 2}


def test_timing_waits_for_a_question_and_questions_wait_for_timing() -> None:
    quiet = Quiet()
    entered, leave, asked = Event(), Event(), Event()

    def time() -> None:
        with quiet.timed():
            entered.set()
            leave.wait(LONG)

    def ask() -> None:
        with quiet.asking():
            asked.set()

    with quiet.asking():
        timing = _start(time)
        assert not entered.wait(MOMENT)
    assert entered.wait(LONG)
    asking = _start(ask)
    assert not asked.wait(MOMENT)
    leave.set()
    assert asked.wait(LONG)
    timing.join(LONG)
    asking.join(LONG)


def test_a_measurement_that_waits_is_served_before_later_questions() -> None:
    quiet = Quiet()
    order: list[str] = []
    waiting = Event()

    def time() -> None:
        waiting.set()
        with quiet.timed():
            order.append("timed")

    def ask() -> None:
        with quiet.asking():
            order.append("asked")

    with quiet.asking():
        timing = _start(time)
        waiting.wait(LONG)
        # The later question must find the measurement waiting.
        while not quiet._waiting:
            timing.join(0.001)
        later = _start(ask)
        later.join(MOMENT)
        assert order == []
    timing.join(LONG)
    later.join(LONG)
    assert order == ["timed", "asked"]


def test_two_measurements_are_made_one_after_the_other() -> None:
    quiet = Quiet()
    first, second, leave = Event(), Event(), Event()

    def time(entered: Event) -> None:
        with quiet.timed():
            entered.set()
            leave.wait(LONG)

    threads = [_start(lambda: time(first))]
    assert first.wait(LONG)
    threads.append(_start(lambda: time(second)))
    assert not second.wait(MOMENT)
    leave.set()
    assert second.wait(LONG)
    for thread in threads:
        thread.join(LONG)


def test_an_error_inside_gives_the_lock_back() -> None:
    quiet = Quiet()
    for context in (quiet.asking, quiet.timed):
        with pytest.raises(ZeroDivisionError), context():
            _ = 1 / 0
    with quiet.timed():
        pass
    with quiet.asking():
        pass


def test_many_threads_neither_overlap_nor_lock_up() -> None:
    quiet = Quiet()
    lock = Lock()
    inside = {"asking": 0, "timed": 0}
    broken: list[dict[str, int]] = []
    generator = random.Random(5)
    plans = [[generator.random() < 0.2 for _ in range(60)] for _ in range(12)]

    def work(plan: list[bool]) -> None:
        for timed in plan:
            kind = "timed" if timed else "asking"
            with quiet.timed() if timed else quiet.asking():
                with lock:
                    inside[kind] += 1
                    if inside["timed"] > 1 or (inside["timed"] and inside["asking"]):
                        broken.append(dict(inside))
                with lock:
                    inside[kind] -= 1

    threads = [_start(lambda plan=plan: work(plan)) for plan in plans]  # type: ignore[misc] # bound
    for thread in threads:
        thread.join(LONG)
    assert not any(thread.is_alive() for thread in threads)
    assert broken == []
    assert inside == {"asking": 0, "timed": 0}
