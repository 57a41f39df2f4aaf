"""Issues for root causes: opened once, found again, kept true, closed when the cause is gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aprqa_ci.errors import DeliveryError
from aprqa_ci.files import sha256_bytes
from aprqa_ci.github.labels import deliver_labels
from aprqa_ci.github.refused import RefusedError
from aprqa_ci.github.ticket_steps import Act, StandingIssue, Step, steps_for
from aprqa_ci.github.ticketed import issue_body, ticketed_by, without_marker
from aprqa_ci.markdown import comment as html_comment
from aprqa_ci.markdown import escape_text
from aprqa_ci.reports.tickets import RunCoverage, Ticket

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import Issue
    from aprqa_ci.github.client import Client

__all__ = ["DeliveredTickets", "deliver_tickets"]

_OWN_LABELS = ("gateway: ", "cause: ")
_ROUNDS = 2
"""The second finds an issue that another run opened at the same time."""


@dataclass(frozen=True, kw_only=True)
class DeliveredTickets:
    """What came of it."""

    lines: tuple[str, ...]
    """What was done, or would be, and why; for people."""
    failures: tuple[str, ...]
    """What GitHub did not take."""


def deliver_tickets(
    client: "Client",
    tickets: Sequence[Ticket],
    run: RunCoverage,
    *,
    author: str | None = None,
    dry_run: bool = False,
) -> DeliveredTickets:
    """Have one issue for each cause of a run, and none open for one that is gone.

    Args:
        client: the repository.
        tickets: one for each cause.
        run: what was tested.
        author: whose issues are ours; absent, it is asked of GitHub.
        dry_run: write nothing and say what would be done.
    """
    lines: list[str] = []
    failures: list[str] = []
    try:
        login = author or client.own_login()
        for number in range(_ROUNDS):
            steps = steps_for(tickets, run, _standing(client, login))
            if number:
                # All else was done, and said, in the first round.
                steps = tuple(step for step in steps if step.act is Act.CLOSE_DUPLICATE)
            for step in steps:
                if dry_run or step.act is Act.LEAVE:
                    lines.append(_said(step, would=dry_run))
                    continue
                try:
                    lines.append(_do(client, step, login, run))
                except RefusedError as refusal:
                    failures.append(str(refusal))
                    if refusal.status in {401, 403, 410}:
                        # The token may not, or there are no issues: the others would fail as well.
                        return DeliveredTickets(lines=tuple(lines), failures=tuple(failures))
                except DeliveryError as error:
                    failures.append(str(error))
            if dry_run or not any(step.act is Act.OPEN for step in steps):
                break
    except DeliveryError as error:
        failures.append(str(error))
    return DeliveredTickets(lines=tuple(lines), failures=tuple(failures))


def _standing(client: "Client", author: str) -> list[StandingIssue]:
    return [
        StandingIssue(
            number=issue.number,
            is_open=issue.state == "open",
            ticketed=ticketed,
            closed_at=issue.closed_at or "",
            closed_as=issue.state_reason or "",
        )
        for issue in client.issues.all()
        if (ticketed := ticketed_by(issue, author=author)) is not None
    ]


def _do(client: "Client", step: Step, author: str, run: RunCoverage) -> str:
    if step.act is Act.OPEN:
        return _open(client, step, author)
    number = step.number
    assert number is not None  # noqa: S101 - only OPEN is of an issue that is not there
    # A person may have changed it since the list was read.
    issue = client.issues.get(number)
    if ticketed_by(issue, author=author) is None:
        return f"#{number} is left: it is no longer ours"
    if step.ticket is not None and step.ticketed is not None:
        body = issue_body(step.ticketed, step.ticket.body)
        state = {"state": "open", "state_reason": "reopened"} if step.act is Act.REOPEN else {}
        # The text comes last: once it says so, the next run finds nothing left to do.
        there = [label.name for label in issue.labels]
        deliver_labels(client, number, there, step.ticket.labels, own=_OWN_LABELS)
        client.issues.change(number, title=step.ticket.title, body=body, **state)
    elif step.act is Act.CLOSE_DUPLICATE:
        client.issues.change(number, state="closed", state_reason="duplicate")
    elif step.ticketed is not None:
        _say_gone(client, number, step, author, run)
        # State and marker in one request: whoever reads the one has the other.
        body = issue_body(step.ticketed, without_marker(issue.body or ""))
        client.issues.change(number, body=body, state="closed", state_reason="completed")
    return _said(step, url=issue.html_url)


def _open(client: "Client", step: Step, author: str) -> str:
    ticket, ticketed = step.ticket, step.ticketed
    assert ticket is not None  # noqa: S101 - what is opened says something
    assert ticketed is not None  # noqa: S101 - likewise

    def find() -> "Issue | None":
        for issue in client.issues.all():
            found = ticketed_by(issue, author=author)
            if found and (found.playbook, found.cause) == (ticketed.playbook, ticketed.cause):
                return issue
        return None

    body = issue_body(ticketed, ticket.body)
    made = client.issues.create(title=ticket.title, body=body, labels=ticket.labels, find=find)
    said = f"opened #{made.number} for {ticket.cause}: {made.html_url}"
    if made.user is not None and made.user.login != author:
        return (
            f"{said}; warning: it is {made.user.login}'s; name it as --author, or the next run "
            "opens another"
        )
    return said


def _say_gone(client: "Client", number: int, step: Step, author: str, run: RunCoverage) -> None:
    # One comment for each closing: an issue may come back and go again.
    marker = html_comment(f"aprqa-ci:ticket-gone {sha256_bytes(run.finished.encode())[:16]}")
    text = escape_text(f"The cause is gone: {step.reason}.")
    client.issues.say_once(
        number,
        f"{marker}\n{text}\n",
        author=author,
        ours=lambda body: body.startswith(marker),
    )


_WORDS = {
    Act.OPEN: "open an issue",
    Act.UPDATE: "update",
    Act.REOPEN: "reopen",
    Act.CLOSE: "close",
    Act.CLOSE_DUPLICATE: "close",
    Act.LEAVE: "leave",
}
_DONE = {
    Act.UPDATE: "updated",
    Act.REOPEN: "reopened",
    Act.CLOSE: "closed",
    Act.CLOSE_DUPLICATE: "closed",
    Act.LEAVE: "left",
}


def _said(step: Step, *, would: bool = False, url: str = "") -> str:
    word = f"would {_WORDS[step.act]}" if would else _DONE[step.act]
    which = "" if step.number is None else f" #{step.number}"
    what = "" if step.ticket is None else f" for {step.ticket.cause}"
    return f"{word}{which}{what}: {step.reason} {url}".rstrip()
