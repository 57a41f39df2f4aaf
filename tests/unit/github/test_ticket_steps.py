"""The decision as a table: what stands, what the run says, and what is done."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from aprqa_ci.github.ticket_steps import Act, StandingIssue, Step, steps_for
from aprqa_ci.github.ticketed import Ticketed, ticketed_of
from aprqa_ci.reports.tickets import RunCoverage, Ticket

MON, TUE, WED = (f"2026-01-0{day}T12:00:00Z" for day in (5, 6, 7))
HERE, THERE = "a" * 12, "b" * 12


def ticket(cause: str = "timeout", body: str = "text") -> Ticket:
    return Ticket(cause=cause, title="t", body=body, labels=(), shown=(HERE, THERE), all_shown=True)


def run(finished: str, *, playbook: str = "tiny", answered: bool = True) -> RunCoverage:
    pairs = frozenset((HERE, THERE) if answered else (HERE,))
    return RunCoverage(
        playbook=playbook,
        model="m/m",
        finished=finished,
        answered=pairs,
        is_whole=answered,
        has_verdict=True,
        not_tested=() if answered else ("something",),
    )


def issue(told: str = TUE, number: int = 7, **more: Any) -> StandingIssue:
    changes = {
        key: more.pop(key) for key in ("gone", "cause", "playbook", "all_shown") if key in more
    }
    ticketed = msgspec.structs.replace(ticketed_of(ticket(), run(told)), **changes)
    is_open = more.pop("is_open", True)
    return StandingIssue(number=number, is_open=is_open, ticketed=ticketed, **more)


def closed(closed_at: str, closed_as: str = "completed", **more: Any) -> StandingIssue:
    return issue(is_open=False, closed_at=closed_at, closed_as=closed_as, **more)


@pytest.mark.parametrize(
    ("standing", "finished", "act"),
    [
        # the cause shows
        (None, TUE, Act.OPEN),
        (issue(), TUE, Act.LEAVE),
        (issue(), WED, Act.UPDATE),
        (issue(), MON, Act.LEAVE),
        # one that we closed
        (closed(TUE, gone=True), WED, Act.REOPEN),
        (closed(TUE, gone=True), TUE, Act.LEAVE),
        (closed(TUE, gone=True), MON, Act.LEAVE),
        # one that we closed and a person opened
        (issue(gone=True), WED, Act.UPDATE),
        # one that a person closed
        (closed(WED), WED, Act.LEAVE),
        (closed(TUE), WED, Act.REOPEN),
        (closed(TUE, "not_planned"), WED, Act.LEAVE),
        (closed(TUE, "duplicate"), WED, Act.LEAVE),
        (closed(TUE, told=WED), TUE, Act.LEAVE),
        # of another playbook, of another cause
        (issue(playbook="other"), WED, Act.OPEN),
    ],
)
def test_a_cause_that_shows(standing: StandingIssue | None, finished: str, act: Act) -> None:
    (step,) = steps_for([ticket()], run(finished), [standing] if standing else [])
    assert step.act is act, step
    assert step.number == (None if act is Act.OPEN else 7)
    assert (step.ticketed is None) is (act is Act.LEAVE)
    if step.ticketed is not None:
        assert step.ticketed == ticketed_of(ticket(), run(finished))


@pytest.mark.parametrize(
    ("standing", "now", "act"),
    [
        (issue(), run(WED), Act.CLOSE),
        (issue(), run(TUE), Act.LEAVE),
        (issue(), run(MON), Act.LEAVE),
        (issue(), run(""), Act.LEAVE),
        # what was not tested again is not gone
        (issue(), run(WED, answered=False), Act.LEAVE),
        # a person opened it after we had closed it
        (issue(gone=True), run(WED), Act.LEAVE),
        (closed(TUE), run(WED), None),
        (closed(TUE, gone=True), run(WED), None),
        (issue(playbook="other"), run(WED), None),
    ],
)
def test_a_cause_that_does_not_show(
    standing: StandingIssue, now: RunCoverage, act: Act | None
) -> None:
    steps = steps_for([], now, [standing])
    assert [step.act for step in steps] == ([] if act is None else [act])
    if act is Act.CLOSE:
        (step,) = steps
        assert step.ticketed is not None
        assert step.ticketed.gone
        assert step.ticketed.finished == WED


def test_where_not_all_is_told_the_whole_has_to_be_tested() -> None:
    cut = issue(all_shown=False)
    assert [step.act for step in steps_for([], run(WED), [cut])] == [Act.CLOSE]
    partly = replace(run(WED), is_whole=False)
    assert [step.act for step in steps_for([], partly, [cut])] == [Act.LEAVE]
    assert [step.act for step in steps_for([], partly, [issue()])] == [Act.CLOSE]


def test_a_run_without_a_verdict_closes_nothing() -> None:
    (step,) = steps_for([], replace(run(WED), has_verdict=False), [issue()])
    assert (step.act, step.reason) == (Act.LEAVE, "the run came to no verdict")


def test_where_it_showed_and_was_not_tested_since_it_is_not_gone() -> None:
    only_here = replace(ticket(), shown=(HERE,))

    def marker(now: Ticket, of: RunCoverage, standing: StandingIssue) -> Ticketed:
        (step,) = steps_for([now], of, [standing])
        assert step.act is Act.UPDATE
        assert step.ticketed is not None
        return step.ticketed

    # It showed here and there; now it shows here, and there nothing was tested.
    partly = run(WED, answered=False)
    kept = marker(only_here, partly, issue())
    assert (kept.shown, kept.all_shown) == ((HERE, THERE), True)
    # The same evidence again changes nothing.
    again = StandingIssue(number=7, is_open=True, ticketed=kept)
    assert [step.act for step in steps_for([only_here], partly, [again])] == [Act.LEAVE]
    # So a run that answers only here closes nothing.
    later = replace(partly, finished="2026-01-08T12:00:00Z")
    assert [step.act for step in steps_for([], later, [again])] == [Act.LEAVE]
    # Where it was tested and did not show, it is gone; and after a closing the count is new.
    assert marker(only_here, run(WED), issue()).shown == (HERE,)
    opened = issue(gone=True)
    assert marker(only_here, partly, opened).shown == (HERE,)
    # What does not fit is told to be missing.
    many = replace(ticket(), shown=(*(f"{n:012d}" for n in range(200)),))
    assert not marker(many, partly, issue()).all_shown
    # And what an older text did not tell stays untold until all is tested.
    assert not marker(only_here, partly, issue(all_shown=False)).all_shown
    assert marker(only_here, run(WED), issue(all_shown=False)).all_shown


def test_of_two_issues_of_a_cause_the_older_stays() -> None:
    both = [issue(number=9), issue(number=7), closed(TUE, number=11)]

    def acts(steps: tuple[Step, ...]) -> list[tuple[Act, int | None]]:
        return [(step.act, step.number) for step in steps]

    assert acts(steps_for([ticket()], run(WED), both)) == [
        (Act.UPDATE, 7),
        (Act.CLOSE_DUPLICATE, 9),
    ]
    assert acts(steps_for([], run(WED), both)) == [(Act.CLOSE_DUPLICATE, 9), (Act.CLOSE, 7)]


def test_every_cause_has_its_step() -> None:
    steps = steps_for(
        [ticket(), ticket("shape")], run(WED), [issue(), issue(cause="killed", number=8)]
    )
    assert [(step.act, step.number) for step in steps] == [
        (Act.UPDATE, 7),
        (Act.OPEN, None),
        (Act.CLOSE, 8),
    ]
