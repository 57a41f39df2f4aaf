"""What is done once certification pull requests are open: reviews, auto-merge, closing old ones.

All of it is optional, and none of it changes a verdict. What was asked for and did not come about
is a failed delivery; a permission that is missing for several pull requests is named once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.auto_merge import AutoMerge, missing_setting, why_left_alone
from aprqa_ci.github.certified import BRANCH_PREFIX, Certified
from aprqa_ci.github.closing import Closable, close, superseded_pulls
from aprqa_ci.github.refused import RefusedError
from aprqa_ci.github.reviewers import Reviewers, not_yet_asked
from aprqa_ci.markdown import Inline

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import IssueEvent
    from aprqa_ci.github.certification_pr import Proposed
    from aprqa_ci.github.client import Client

__all__ = ["Delivered", "FollowUp", "Followed", "follow_up"]

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """What is to be done."""

    reviewers: Reviewers = field(default_factory=Reviewers)
    auto_merge: AutoMerge = AutoMerge.OFF
    close_superseded: bool = False


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """A certification and its pull request."""

    certified: Certified
    pull: "Proposed | None"
    """Absent where a dry run only would have opened it."""


@dataclass(frozen=True, kw_only=True)
class Followed:
    """What came of it."""

    lines: tuple[str, ...] = ()
    """What was done, or would be, for people."""
    failures: tuple[str, ...] = ()
    """What was asked for and did not come about."""


def follow_up(
    client: "Client",
    wanted: FollowUp,
    delivered: Sequence[Delivered],
    *,
    touched: Sequence[Certified],
    base: str,
    registry: str,
    author: str | None,
    footer: Inline,
    dry_run: bool = False,
) -> Followed:
    """Do what is wanted for pull requests that were delivered.

    Args:
        client: the repository.
        wanted: what is to be done.
        delivered: the open pull requests of this run.
        touched: all that this run would certify, also where no pull request came of it.
        base: the branch that certifications are proposed for.
        registry: where the registry is.
        author: whose pull requests are ours; absent, it is asked of GitHub.
        footer: finished Markdown for the end of comments.
        dry_run: write nothing and say what would be done.
    """
    steps = _Steps()
    open_ones = [
        (each.certified.playbook, each.pull)
        for each in delivered
        if each.pull is not None and each.pull.action != "closed"
    ]
    if dry_run:
        for each in delivered:
            steps.lines += _intended(wanted, each.certified.playbook)
    if wanted.reviewers and not dry_run:
        steps.each(open_ones, lambda pull: _ask(client, wanted.reviewers, pull))
    if wanted.auto_merge is not AutoMerge.OFF and not dry_run:
        method = wanted.auto_merge
        steps.each(open_ones, lambda pull: _enable(client, method, pull, base))
    if wanted.close_superseded:
        numbers = {
            BRANCH_PREFIX + each.certified.playbook: each.pull.number if each.pull else None
            for each in delivered
            if each.pull is None or each.pull.action != "closed"
        }
        try:
            login = author or client.own_login()
            closables = superseded_pulls(
                client,
                touched=touched,
                successors=numbers,
                base=base,
                registry=registry,
                author=login,
            )
            found = [(each.certified.playbook, each) for each in closables]
        except DeliveryError as error:
            steps.failures.append(f"superseded pull requests: {error}")
        else:
            if dry_run:
                steps.lines += [f"{name}: {_would_close(each)}" for name, each in found]
            else:
                steps.each(found, lambda each: [close(client, each, author=login, footer=footer)])
    return Followed(lines=tuple(steps.lines), failures=tuple(steps.failures))


class _Steps:
    """Collects what is done and what fails; a missing permission ends a step."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.failures: list[str] = []

    def each(
        self, items: Sequence[tuple[str, ItemT]], act: Callable[[ItemT], Iterable[str]]
    ) -> None:
        for place, (name, item) in enumerate(items):
            try:
                self.lines += [f"{name}: {line}" for line in act(item)]
            except RefusedError as refusal:
                text = f"{name}: {refusal}"
                left = ", ".join(name for name, _ in items[place + 1 :])
                if refusal.status == 403 and left:
                    self.failures.append(f"{text}; for that reason not tried for {left}")
                    return
                self.failures.append(text)
            except DeliveryError as error:
                self.failures.append(f"{name}: {error}")


def _ask(client: "Client", wanted: Reviewers, proposed: "Proposed") -> Iterator[str]:
    pull = client.course.get(proposed.number)
    events = _history(client, proposed)
    if events is None:
        yield (
            "no review is asked for: without `issues: read` it cannot be told whether one was; "
            "that is needed only after the run that opens the pull request"
        )
        return
    if pull.user is not None:
        author = pull.user.login
        if author.casefold() in {name.casefold() for name in wanted.users}:
            yield f"warning: {author} opened the pull request and cannot review it"
    asked = not_yet_asked(wanted, pull, events)
    if asked:
        try:
            client.course.request_reviews(proposed.number, asked.users, asked.teams)
        except RefusedError as refusal:
            if not asked.teams:
                raise
            # A job's own token sees no team, and GitHub says so in ways that do not tell.
            what = f"{refusal}; to ask a team, use the token of an app that may read `members`"
            raise RefusedError(what, status=refusal.status, said=refusal.said) from refusal
        yield f"asked for a review: {asked}"


def _enable(client: "Client", method: AutoMerge, proposed: "Proposed", base: str) -> Iterator[str]:
    pull = client.course.get(proposed.number)
    events = _history(client, proposed)
    # Without the events it cannot be told whether somebody switched it off, so it is left alone.
    why = "without `issues: read` it cannot be told whether somebody switched it off"
    if events is not None:
        why = why_left_alone(pull, events) or ""
    if why:
        yield f"auto-merge is left as it is: {why}"
        return
    try:
        client.course.enable_auto_merge(pull, method=method.value, head=proposed.commit)
    except RefusedError as refusal:
        setting = missing_setting(refusal.said, base=base)
        if not setting:
            raise
        what = f"could not have pull request #{pull.number} merged automatically: {setting}"
        raise DeliveryError(what) from refusal
    yield f"is merged automatically ({method.value}) once the rules of {base} are met"


def _history(client: "Client", proposed: "Proposed") -> "list[IssueEvent] | None":
    """Return what happened to a pull request, or nothing when the token may not know.

    One that was just opened has no history.
    """
    if proposed.action == "created":
        return []
    try:
        return list(client.course.events(proposed.number))
    except RefusedError as refusal:
        if refusal.status in {403, 404}:
            return None
        raise


def _intended(wanted: FollowUp, name: str) -> Iterator[str]:
    if wanted.reviewers:
        yield f"{name}: would ask for a review, unless that was done: {wanted.reviewers}"
    if wanted.auto_merge is not AutoMerge.OFF:
        yield f"{name}: would have it merged automatically ({wanted.auto_merge.value})"


def _would_close(closable: Closable) -> str:
    number = closable.pull.number
    return f"would close #{number}, superseded by {closable.successor}: {closable.reason}"
