"""Closing certification pull requests of ours that are superseded, never anybody else's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aprqa_ci.errors import DeliveryError, InputError
from aprqa_ci.github.certified import BRANCH_PREFIX, Certified, certified_by
from aprqa_ci.github.superseded import Superseded, why_superseded
from aprqa_ci.markdown import Inline, code_span, join
from aprqa_ci.markdown import comment as html_comment
from aprqa_ci.registry.models_csv import read_registry

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import PullRequest
    from aprqa_ci.github.client import Client

__all__ = ["Closable", "close", "superseded_pulls"]

_MARKER = html_comment("aprqa-ci:superseded") + "\n"


@dataclass(frozen=True, kw_only=True)
class Closable:
    """An open pull request of ours that is superseded."""

    pull: "PullRequest"
    certified: Certified
    successor: Inline
    reason: Inline
    keeps_branch: bool
    """Whether another open pull request stands on its branch."""


def superseded_pulls(
    client: "Client",
    *,
    touched: Sequence[Certified],
    successors: Mapping[str, int | None],
    base: str,
    registry: str,
    author: str,
) -> Iterator[Closable]:
    """Find the superseded ones among the pull requests of some playbooks and models.

    Args:
        client: the repository.
        touched: what was published; others' pull requests are their own runs' affair.
        successors: the numbers of the pull requests that are there now, by branch; none for one
            that a dry run would open.
        base: the branch that certifications are proposed for.
        registry: where the registry is.
        author: whose pull requests are ours.

    Raises:
        DeliveryError: GitHub did not answer.
    """
    every = list(client.course.open())
    own = [
        (pull, certified)
        for pull in every
        if (certified := certified_by(pull, author=author, repository=client.repository))
        and any(
            new.playbook == certified.playbook or new.model == certified.model for new in touched
        )
    ]
    standing = [new for new in touched if BRANCH_PREFIX + new.playbook in successors]
    head = client.git.branch_head(base) if own else None
    if head is None:
        return
    rows = _rows(client, registry, head)
    for pull, old in own:
        found = why_superseded(
            old,
            aimed_at=pull.base.ref,
            base=base,
            rows=rows,
            successors=standing,
            playbook_is_gone=_is_gone(client, old, pull, head, standing),
        )
        if found is not None:
            others = (each for each in every if each.number != pull.number)
            yield Closable(
                pull=pull,
                certified=old,
                successor=_successor(found, successors, base, head),
                reason=found.reason,
                keeps_branch=any(each.head.ref == pull.head.ref for each in others),
            )


def close(client: "Client", closable: Closable, *, author: str, footer: Inline) -> str:
    """Close a pull request: say why, close it, delete its branch. Return what was done.

    In this order, so that whatever fails, the next run finds it open and goes on.

    Args:
        client: the repository.
        closable: what ``superseded_pulls`` found.
        author: whose comments are ours.
        footer: finished Markdown for the end of the comment.

    Raises:
        DeliveryError: GitHub did not take it.
    """
    old = closable.pull
    now = client.course.get(old.number)
    if (now.state, now.head.sha, now.body) != (old.state, old.head.sha, old.body):
        return f"#{old.number} is not closed: it changed meanwhile"
    why = join(": ", [join(" ", ["Superseded by", closable.successor]), closable.reason])
    body = f"{_MARKER}{why}\n\n{footer}\n"
    said = client.find_comment(old.number, author=author, ours=_is_ours)
    if said is None:
        client.create_comment(old.number, body, author=author, ours=_is_ours)
    elif why not in said.body:
        client.update_comment(said.id, body)
    client.course.close(old.number)
    done = f"#{old.number} is closed, superseded by {closable.successor}: {closable.reason}"
    if closable.keeps_branch:
        return f"{done}; another pull request stands on its branch, which stays"
    if not client.git.delete_branch(old.head.ref, old.head.sha):
        return f"{done}; its branch has moved on and stays"
    return done


def _is_ours(body: str) -> bool:
    # GitHub may keep other line ends.
    return body.startswith(_MARKER.rstrip())


def _successor(
    found: Superseded, successors: Mapping[str, int | None], base: str, head: str
) -> Inline:
    if not found.by:
        return join(" ", ["what stands on", code_span(base), "at", code_span(head[:12])])
    number = successors[found.by]
    # Where it is not yet there, only its branch can be named.
    return code_span(found.by) if number is None else Inline(f"#{number}")


def _rows(client: "Client", registry: str, commit: str) -> dict[str, Mapping[str, str]]:
    data = client.git.file(registry, commit)
    try:
        rows = () if data is None else read_registry(data, source=registry).rows
    except InputError as error:
        what = f"could not tell what is superseded: {error}"
        raise DeliveryError(what) from error
    return {row["model_id"]: row for row in rows}


def _is_gone(
    client: "Client", old: Certified, pull: "PullRequest", head: str, standing: Sequence[Certified]
) -> bool:
    """Whether the playbook's file was there at the pull request's commit and is not on the base.

    A playbook that never was a file of the repository is not gone from it.
    """
    if not any(new.model == old.model and new.playbook != old.playbook for new in standing):
        return False
    parts = old.path.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        return False
    parent, name = "/".join(parts[:-1]), parts[-1]
    was_there = name in client.git.directory(parent, pull.head.sha)
    return was_there and name not in client.git.directory(parent, head)
