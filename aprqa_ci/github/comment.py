"""The one comment on a pull request, kept up to date where it stands.

It is known again by a marker in its first line and by its author: anybody can write the marker, but
not under our name. The marker holds a digest of what the comment says, so that a comment which
would say the same again is left alone and nobody is notified of nothing.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from aprqa_ci.markdown import comment as html_comment
from aprqa_ci.reports.summary_markdown import SummarisedRun, render_summary
from aprqa_ci.vocabulary import Status

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import Comment
    from aprqa_ci.github.client import Client

__all__ = ["MAX_BODY_BYTES", "CommentMode", "Delivered", "body_of", "deliver_comment", "is_wanted"]

MAX_BODY_BYTES = 65_536
"""GitHub counts characters; bytes are at least as many."""

_MARKER = re.compile(
    r"<!-- aprqa-ci:report key=(?P<key>[a-z0-9._-]{1,100}) content=(?P<content>[0-9a-f]{64}) -->"
    r"(?:\r?\n|$)"
)
_GOOD = {Status.CERTIFIED, Status.PROVISIONAL}


class CommentMode(StrEnum):
    """When there is to be a comment.

    One that is there already is kept up to date in every mode but ``off``: a comment that is no
    longer true is worse than none.
    """

    ALWAYS = "always"
    CHANGES = "changes"
    """When something is not as at the merge base, or there is nothing to compare with."""
    FAILURES = "failures"
    """When a model fell short, or there is no verdict on it."""
    OFF = "off"


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What became of the comment."""

    action: Literal["created", "updated", "unchanged", "not wanted"]
    url: str = ""
    warning: str = ""
    """What will go wrong next time, if anything."""


def is_wanted(runs: Sequence[SummarisedRun], mode: CommentMode) -> bool:
    """Whether a comment is to be made where there is none yet. Pure."""
    match mode:
        case CommentMode.ALWAYS:
            return True
        case CommentMode.CHANGES:
            return any(_changed(run) for run in runs)
        case CommentMode.FAILURES:
            return any(run.report.certificate.status not in _GOOD for run in runs)
        case CommentMode.OFF:
            return False


def body_of(
    runs: Sequence[SummarisedRun], *, key: str, footer: str, unverified: bool = False
) -> str:
    """Return the whole text of a comment, at most ``MAX_BODY_BYTES`` of UTF-8. Pure.

    Args:
        runs: what it reports.
        key: tells the comments of several workflows apart; ``a-z 0-9 . _ -``.
        footer: finished Markdown that does not count as content, such as the link to the run.
        unverified: say that the evidence is a stranger's.
    """
    room = MAX_BODY_BYTES - len(_marker(key, "").encode()) - len(footer.encode()) - 2
    content = render_summary(runs, limit=room, unverified=unverified)
    return f"{_marker(key, content)}{content}\n{footer}\n"


def deliver_comment(
    client: "Client", pull: int, body: str, *, wanted: bool, author: str | None = None
) -> Delivered:
    """Make the comment, bring it up to date, or leave it alone.

    Args:
        client: the repository.
        pull: the pull request's number.
        body: what ``body_of`` gave.
        wanted: whether one is made where there is none.
        author: whose comments are ours; absent, it is asked of GitHub.

    Raises:
        DeliveryError: GitHub did not take it.
    """
    marker = _MARKER.match(body)
    if marker is None:
        what = "the text has no marker; it would never be found again"
        raise ValueError(what)
    login = author or client.own_login()

    def ours(text: str) -> bool:
        found = _MARKER.match(text)
        return found is not None and found["key"] == marker["key"]

    standing: Comment | None = client.find_comment(pull, author=login, ours=ours)
    if standing is None:
        if not wanted:
            return Delivered(action="not wanted")
        made = client.create_comment(pull, body, author=login, ours=ours)
        return Delivered(action="created", url=made.html_url, warning=_not_ours(made, login))
    found = _MARKER.match(standing.body)
    if found is not None and found["content"] == marker["content"]:
        return Delivered(action="unchanged", url=standing.html_url)
    return Delivered(action="updated", url=client.update_comment(standing.id, body).html_url)


def _not_ours(made: "Comment", login: str) -> str:
    """Return a warning when GitHub shows our comment under another name than we look for."""
    if made.user is None or made.user.login == login:
        return ""
    return f"the comment is {made.user.login}'s; name it as --author, or the next run adds another"


def _changed(run: SummarisedRun) -> bool:
    base, now = run.comparison.base, run.report.certificate
    same = base is not None and (base.status, base.grade) == (now.status, now.grade)
    return run.comparison.is_change or not same


def _marker(key: str, content: str) -> str:
    digest = hashlib.sha256(content.encode()).hexdigest()
    return html_comment(f"aprqa-ci:report key={key} content={digest}") + "\n"
