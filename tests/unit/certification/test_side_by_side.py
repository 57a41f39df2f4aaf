import gc
import os
import signal

import pytest

from aprqa_ci.certification.side_by_side import each_in_turn
from aprqa_ci.errors import InconclusiveError, InputError, Problem

GIVEN = list(range(20))
PROBLEM = Problem(what="it is 7", path="a.json", line=3, hint="take another")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_what_is_made_comes_in_the_order_of_what_was_given(processes: int) -> None:
    offset = 100
    made = list(each_in_turn(lambda n: (n + offset, os.getpid()), GIVEN, processes=processes))
    assert [number for number, _ in made] == [n + 100 for n in GIVEN]
    here = {process == os.getpid() for _, process in made}
    assert here == {processes == 1}
    assert list(each_in_turn(str, [], processes=processes)) == []


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_whole(processes: int) -> None:
    def make(number: int) -> int:
        if number == 7:
            raise InputError([PROBLEM, PROBLEM])
        return number

    made = each_in_turn(make, GIVEN, processes=processes)
    assert [next(made) for _ in range(7)] == GIVEN[:7]
    with pytest.raises(InputError) as caught:
        next(made)
    assert caught.value.problems == (PROBLEM, PROBLEM)


def test_a_process_that_is_killed_is_nobodys_verdict() -> None:
    def make(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(InconclusiveError, match="memory"):
        list(each_in_turn(make, GIVEN, processes=2))


def test_whoever_interrupts_ends_the_others_alone() -> None:
    def make(_: int) -> tuple[object, object]:
        return signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGINT)
    made = list(each_in_turn(make, GIVEN, processes=2))
    assert set(made) == {(signal.SIG_IGN, signal.SIG_DFL)}
    assert signal.getsignal(signal.SIGINT) is before


def test_the_others_do_not_look_for_circles() -> None:
    assert set(each_in_turn(lambda _: gc.isenabled(), GIVEN, processes=2)) == {False}
    assert gc.isenabled()
