"""What is to be done about tickets: a pure decision over plain values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from aprqa_ci.github.ticketed import Ticketed, ticketed_of
from aprqa_ci.reports.tickets import MOST_SHOWN, RunCoverage, Ticket
from aprqa_ci.scoring.runs import instant

__all__ = ["Act", "StandingIssue", "Step", "steps_for"]

# A person who closes an issue for one of these does not wait for better evidence.
_CLOSED_FOR_GOOD = {"not_planned", "duplicate"}


class Act(StrEnum):
    """What is done about an issue."""

    OPEN = "open"
    UPDATE = "update"
    REOPEN = "reopen"
    CLOSE = "close"
    """The cause is gone."""
    CLOSE_DUPLICATE = "close duplicate"
    """Two runs at once opened one each."""
    LEAVE = "leave"


@dataclass(frozen=True, kw_only=True)
class StandingIssue:
    """An issue of ours."""

    number: int
    is_open: bool
    ticketed: Ticketed
    closed_at: str = ""
    """RFC 3339; empty while it is open."""
    closed_as: str = ""
    """GitHub's reason: ``completed``, ``not_planned`` or ``duplicate``."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to do, or to leave."""

    act: Act
    reason: str
    number: int | None = None
    """Of the issue; absent where there is none yet."""
    ticket: Ticket | None = None
    """What it is to say; absent where its cause does not show."""
    ticketed: Ticketed | None = None
    """What its marker is to say; absent where nothing is written."""


def steps_for(
    tickets: Sequence[Ticket], run: RunCoverage, standing: Sequence[StandingIssue]
) -> tuple[Step, ...]:
    """Return what is to be done after a run. Pure.

    Args:
        tickets: one for each cause of the run.
        run: what was tested in it.
        standing: all issues of ours, of any playbook, open or closed.
    """
    own: dict[str, list[StandingIssue]] = {}
    for issue in sorted(standing, key=lambda each: each.number):
        if issue.ticketed.playbook == run.playbook:
            own.setdefault(issue.ticketed.cause, []).append(issue)
    steps = [_for_cause(ticket, run, own.get(ticket.cause, ())) for ticket in tickets]
    present = {ticket.cause for ticket in tickets}
    for cause, issues in own.items():
        # The oldest is the issue of the cause.
        steps += _duplicates(issues)
        if cause not in present and issues[0].is_open:
            steps.append(_without_cause(issues[0], run))
    return tuple(steps)


def _for_cause(ticket: Ticket, run: RunCoverage, issues: Sequence[StandingIssue]) -> Step:
    if not issues:
        now = ticketed_of(ticket, run)
        return Step(act=Act.OPEN, reason="no issue has it yet", ticket=ticket, ticketed=now)
    issue = issues[0]
    now = _still_shown(ticketed_of(ticket, run), issue.ticketed, run)

    def leave(reason: str) -> Step:
        return Step(act=Act.LEAVE, reason=reason, number=issue.number, ticket=ticket)

    def write(act: Act, reason: str) -> Step:
        return Step(act=act, reason=reason, number=issue.number, ticket=ticket, ticketed=now)

    if instant(run.finished) < instant(issue.ticketed.finished):
        return leave(_is_older(run, issue))
    if issue.is_open:
        if issue.ticketed == now:
            return leave("it says so already")
        return write(Act.UPDATE, "it is still there")
    if issue.ticketed.gone:
        if instant(run.finished) > instant(issue.ticketed.finished):
            return write(Act.REOPEN, "it is back")
        return leave("evidence of the same moment closed it")
    if issue.closed_as in _CLOSED_FOR_GOOD:
        return leave(f"a person closed it as {issue.closed_as.replace('_', ' ')}")
    if instant(run.finished) > instant(issue.closed_at):
        return write(Act.REOPEN, "it shows in evidence that is newer than its closing")
    return leave("a person closed it, and the evidence is older than that")


def _without_cause(issue: StandingIssue, run: RunCoverage) -> Step:
    def leave(reason: str) -> Step:
        return Step(act=Act.LEAVE, reason=reason, number=issue.number)

    old = issue.ticketed
    if old.gone:
        return leave("a person opened it again")
    if instant(run.finished) <= instant(old.finished):
        return leave(_is_older(run, issue))
    if not (run.answered.issuperset(old.shown) and (old.all_shown or run.is_whole)):
        return leave("not everything in which it showed was tested again")
    if not run.has_verdict:
        return leave("the run came to no verdict")
    return Step(
        act=Act.CLOSE,
        reason=f"it does not show in the evidence that ends {run.finished}",
        number=issue.number,
        ticketed=_gone(old, run),
    )


def _still_shown(now: Ticketed, old: Ticketed, run: RunCoverage) -> Ticketed:
    """Add where the cause showed before and was not tested since: it is not gone there."""
    if old.gone:
        return now
    before = (pair for pair in old.shown if pair not in now.shown and pair not in run.answered)
    shown = (*now.shown, *before)
    return msgspec.structs.replace(
        now,
        shown=shown[:MOST_SHOWN],
        all_shown=now.all_shown and len(shown) <= MOST_SHOWN and (old.all_shown or run.is_whole),
    )


def _duplicates(issues: Sequence[StandingIssue]) -> Iterator[Step]:
    first, *others = issues
    for issue in others:
        if issue.is_open:
            yield Step(
                act=Act.CLOSE_DUPLICATE,
                reason=f"#{first.number} is of the same cause",
                number=issue.number,
            )


def _gone(old: Ticketed, run: RunCoverage) -> Ticketed:
    return Ticketed(
        playbook=old.playbook,
        cause=old.cause,
        finished=run.finished,
        content=old.content,
        shown=old.shown,
        all_shown=old.all_shown,
        gone=True,
    )


def _is_older(run: RunCoverage, issue: StandingIssue) -> str:
    told = issue.ticketed.finished
    return f"the evidence ends {run.finished or 'nowhere'}; the issue tells of {told}"
