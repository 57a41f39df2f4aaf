"""What an issue of ours reports, as its own text carries it."""

import base64
import binascii
import re
from typing import TYPE_CHECKING, Literal

from aprqa_ci.errors import InputError
from aprqa_ci.files import sha256_bytes
from aprqa_ci.markdown import comment as html_comment
from aprqa_ci.reports.tickets import RunCoverage, Ticket
from aprqa_ci.wire import WireModel, canonical_json, decode_wire

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import Issue

__all__ = ["Ticketed", "issue_body", "ticketed_by", "ticketed_of", "without_marker"]

_MARKER = re.compile(r"<!-- aprqa-ci:ticket (?P<facts>[A-Z2-7=]{1,12000}) -->(?:\r?\n|$)")


class Ticketed(WireModel, frozen=True, kw_only=True):
    """What an issue of ours reports; its text carries this."""

    schema: Literal["aprqa-ticket/1"] = "aprqa-ticket/1"
    playbook: str
    cause: str
    finished: str
    """When the evidence ended that was last heeded, RFC 3339."""
    content: str
    """SHA-256 of title, labels and text."""
    shown: tuple[str, ...]
    """Where the cause showed; see ``Ticket.shown``."""
    all_shown: bool
    gone: bool = False
    """Whether we closed the issue because the cause was gone."""


def ticketed_of(ticket: Ticket, run: RunCoverage) -> Ticketed:
    """Return what the issue of a ticket reports. Pure."""
    said = "\0".join([ticket.title, *ticket.labels, ticket.body])
    return Ticketed(
        playbook=run.playbook,
        cause=ticket.cause,
        finished=run.finished,
        content=sha256_bytes(said.encode()),
        shown=ticket.shown,
        all_shown=ticket.all_shown,
    )


def issue_body(ticketed: Ticketed, text: str) -> str:
    """Return the whole text of an issue, the marker first. Pure."""
    # Base32 has no character that could end the comment.
    facts = base64.b32encode(canonical_json(ticketed)).decode()
    return html_comment(f"aprqa-ci:ticket {facts}") + f"\n{text}"


def without_marker(body: str) -> str:
    """Return the text of an issue of ours without its first line."""
    return _MARKER.sub("", body, count=1)


def ticketed_by(issue: "Issue", *, author: str) -> Ticketed | None:
    """Return what an issue reports; nothing when it is not ours beyond doubt. Pure.

    Ours is what our author opened and what says in its first line what it reports: anybody can
    write the line, but not under our name.

    Args:
        issue: any issue.
        author: whose issues are ours.
    """
    found = _MARKER.match(issue.body or "")
    if (
        found is None
        or issue.pull_request is not None
        or issue.user is None
        or issue.user.login != author
    ):
        return None
    try:
        data = base64.b32decode(found["facts"])
        return decode_wire(data, Ticketed, source=f"#{issue.number}")
    except (binascii.Error, InputError):
        return None
