"""The pull request that brings a certification into the registry: one a playbook, made anew.

The branch is never rebased. Every time its files are made again from the head of the base branch,
where another model's row may have changed meanwhile, and the new commit gets both the branch's old
head and the base as parents. So the branch only ever moves forward, which GitHub does as one
compare-and-swap: whoever else moved it in between is noticed, and all is made again. For the same
reason evidence is never replaced by older evidence: what the branch certifies is read at the very
commit that the new one stands on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, Bundle
from aprqa_ci.certification.timings import TIMINGS_NAME
from aprqa_ci.errors import DeliveryError, InputError
from aprqa_ci.github.certified import Certified, certified_by, why_open_is_ahead
from aprqa_ci.github.labels import deliver_labels
from aprqa_ci.github.proposal import (
    Base,
    Declined,
    Places,
    Proposal,
    branch_of,
    certified_of,
)
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.wire import decode_wire

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import PullRequest
    from aprqa_ci.github.client import Client

__all__ = ["Proposed", "deliver_proposal", "read_base"]

_OWN_LABELS = ("status: ", "tier: ")


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """What became of the pull request."""

    action: Literal["created", "updated", "unchanged", "closed"]
    """``closed``: somebody closed the pull request of this very commit, and that stands."""
    number: int
    url: str
    commit: str


def read_base(client: "Client", branch: str, commit: str, playbook: str, places: Places) -> Base:
    """Read what a certification may change, as it is at a commit.

    Raises:
        DeliveryError: GitHub did not answer.
    """
    directory = f"{places.certifications}/{branch_of(playbook).rpartition('/')[2]}"
    blobs = {
        f"{directory}/{name}": entry.sha
        for name, entry in client.git.directory(directory, commit).items()
        if entry.type == "file"
    }
    for path in (places.registry, places.readme):
        parent, _, name = path.rpartition("/")
        if entry := client.git.directory(parent, commit).get(name):
            blobs[path] = entry.sha
    certificate, timings = (f"{directory}/{name}" for name in (CERTIFICATE_NAME, TIMINGS_NAME))
    return Base(
        branch=branch,
        registry=client.git.file(places.registry, commit),
        readme=client.git.file(places.readme, commit),
        certificate=client.git.file(certificate, commit) if certificate in blobs else None,
        timings=client.git.file(timings, commit) if timings in blobs else None,
        blobs=blobs,
    )


def deliver_proposal(
    client: "Client",
    bundle: Bundle,
    *,
    base_branch: str,
    places: Places,
    attempts: int,
    propose: Callable[[Base], Proposal | Declined],
    dry_run: bool = False,
) -> Proposed | Proposal | Declined:
    """Have the pull request of a bundle there as it is to be.

    Args:
        client: the repository.
        bundle: the certification.
        base_branch: what it is proposed for.
        places: where things are.
        attempts: how often it is made again because the base or the branch moved meanwhile.
        propose: says what is to change, given the files of the base.
        dry_run: write nothing; the proposal is the result.

    Returns:
        What became of it; the reason when nothing is proposed.

    Raises:
        DeliveryError: GitHub did not take it, or the repository never stood still.
        InputError: the registry, the README or the bundle cannot be read.
    """
    for _ in range(attempts):
        head = client.git.branch_head(base_branch)
        if head is None:
            what = f"there is no branch {base_branch} to propose anything for"
            raise DeliveryError(what)
        base = read_base(client, base_branch, head, bundle.certificate.playbook.name, places)
        proposal = propose(base)
        if isinstance(proposal, Declined):
            return proposal
        new = certified_of(bundle, base_branch)
        old = client.git.branch_head(proposal.branch)
        if old is not None and (ahead := _why_behind_branch(client, new, old, places)):
            return Declined(reason=ahead)
        if dry_run:
            return proposal
        placed = _place(client, proposal, head, old)
        if placed is None or client.git.branch_head(base_branch) != head:
            continue
        if client.git.branch_head(proposal.branch) != placed.commit:
            continue
        done = _pull_request(client, proposal, placed, base_branch)
        # Another run that came in between has its own text to write, or this one once more.
        if client.git.branch_head(proposal.branch) == placed.commit:
            return done
    what = (
        f"{base_branch} or the branch of {bundle.certificate.playbook.name} moved {attempts} times "
        "while the commit was made; run the job again"
    )
    raise DeliveryError(what)


def _why_behind_branch(client: "Client", new: Certified, old: str, places: Places) -> str | None:
    """Return why what the branch certifies at ``old`` is not to be replaced.

    The text of a pull request follows its branch by a few requests, so the branch's certificate is
    looked at as well. A branch that only a closed pull request left behind stands for nothing.
    """
    branch = branch_of(new.playbook)
    pulls = _pulls_of(client, branch, new.base)
    is_open = any(pull.state == "open" for pull in pulls)
    if not is_open and any(pull.head.sha == old for pull in pulls):
        return None
    texts = (certified_by(pull, author=None, repository=client.repository) for pull in pulls)
    for standing in (*texts, _certified_at(client, new, old, places)):
        if standing is not None and (why := why_open_is_ahead(new, standing)):
            return why
    return None


def _certified_at(
    client: "Client", new: Certified, commit: str, places: Places
) -> Certified | None:
    """Return what a commit of the branch certifies; what cannot be read is nothing."""
    path = f"{places.certifications}/{new.playbook}/{CERTIFICATE_NAME}"
    data = client.git.file(path, commit)
    try:
        found = None if data is None else decode_wire(data, Certificate, source=path)
    except InputError:
        return None
    if found is None or found.finished is None:
        return None
    return Certified(
        playbook=new.playbook,
        path=new.path,
        model=found.model.hf_repo,
        tier=found.tier,
        finished=found.finished,
        base=new.base,
    )


def _pulls_of(client: "Client", branch: str, base: str) -> "list[PullRequest]":
    """Return the pull requests from our branch for a base, open or not, newest first."""
    owner = client.repository.partition("/")[0]
    pulls = client.pull_requests(head=f"{owner}:{branch}", state="all")
    return [pull for pull in pulls if pull.base.ref == base]


@dataclass(frozen=True, kw_only=True)
class _Placed:
    commit: str
    is_new: bool


def _place(client: "Client", proposal: Proposal, base: str, old: str | None) -> _Placed | None:
    """Have the branch, last seen at ``old``, at a commit with the proposed files.

    Returns:
        The commit; nothing when somebody was quicker.
    """
    git = client.git
    tree = git.create_tree(git.commit(base).tree.sha, proposal.files)
    if old is None:
        commit = git.create_commit(proposal.message, tree=tree, parents=[base])
        done = git.create_branch(proposal.branch, commit)
    else:
        on_base = git.merge_base(base, old) == base
        if on_base and git.commit(old).tree.sha == tree:
            return _Placed(commit=old, is_new=False)
        parents = [old] if on_base else [old, base]
        commit = git.create_commit(proposal.message, tree=tree, parents=parents)
        done = git.advance_branch(proposal.branch, commit)
    return _Placed(commit=commit, is_new=True) if done else None


def _pull_request(
    client: "Client", proposal: Proposal, placed: _Placed, base_branch: str
) -> Proposed:
    pulls = _pulls_of(client, proposal.branch, base_branch)
    standing = next((pull for pull in pulls if pull.state == "open"), None)
    if standing is None:
        closed = next((pull for pull in pulls if pull.head.sha == placed.commit), None)
        if closed is not None and not placed.is_new:
            return _proposed("closed", closed, placed)
        standing = client.create_pull_request(
            branch=proposal.branch, base=base_branch, title=proposal.title, body=proposal.body
        )
        action: Literal["created", "updated", "unchanged"] = "created"
    elif standing.title == proposal.title and _same(standing.body, proposal.body):
        action = "updated" if placed.is_new else "unchanged"
    else:
        client.update_pull_request(standing.number, title=proposal.title, body=proposal.body)
        action = "updated"
    there = [label.name for label in standing.labels]
    deliver_labels(client, standing.number, there, proposal.labels, own=_OWN_LABELS)
    return _proposed(action, standing, placed)


def _proposed(
    action: Literal["created", "updated", "unchanged", "closed"],
    pull: "PullRequest",
    placed: _Placed,
) -> Proposed:
    return Proposed(action=action, number=pull.number, url=pull.html_url, commit=placed.commit)


def _same(one: str | None, other: str) -> bool:
    """Whether two texts say the same; the last line names the run, which is another every time.

    GitHub may keep other line ends, and no blanks at the end.
    """
    texts = ((text or "").replace("\r\n", "\n").strip() for text in (one, other))
    first, second = (text.rpartition("\n")[0] for text in texts)
    return first == second
