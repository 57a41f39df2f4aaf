"""What a certification pull request certifies, as its own text carries it."""

import base64
import binascii
import re
from typing import TYPE_CHECKING, Literal

from aprqa_ci.errors import InputError
from aprqa_ci.markdown import comment as html_comment
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.registry.better_evidence import tier_rank
from aprqa_ci.scoring.runs import instant
from aprqa_ci.wire import WireModel, canonical_json, decode_wire

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import PullRequest

__all__ = ["BRANCH_PREFIX", "Certified", "certified_by", "marker_of", "why_open_is_ahead"]

BRANCH_PREFIX = "aprqa/certify/"
"""Before the playbook's name; nobody else is to use it."""

_MARKER = re.compile(r"<!-- aprqa-ci:certified (?P<facts>[A-Z2-7=]{1,8000}) -->(?:\r?\n|$)")


class Certified(WireModel, frozen=True, kw_only=True):
    """What a certification pull request certifies; its text carries this."""

    schema: Literal["aprqa-certified/1"] = "aprqa-certified/1"
    playbook: str
    path: str
    """The playbook's file, from the root of the repository."""
    model: str
    tier: str
    finished: str
    """When the evidence ended, RFC 3339."""
    base: str
    """The branch that it is proposed for."""


def marker_of(certified: Certified) -> str:
    """Return the first line of a pull request's text. Pure."""
    # Base32 has no character that could end the comment.
    facts = base64.b32encode(canonical_json(certified)).decode()
    return html_comment(f"aprqa-ci:certified {facts}") + "\n"


def certified_by(pull: "PullRequest", *, author: str | None, repository: str) -> Certified | None:
    """Return what a pull request certifies; nothing when it is not ours beyond doubt. Pure.

    Ours is what is open, has our author, stands on our branch of this very repository and says in
    its first line what it certifies.

    Args:
        pull: any pull request.
        author: whose pull requests are ours; absent, whoever opened one on our branch.
        repository: ``owner/name``; a fork's branch may have any name.
    """
    found = _MARKER.match(pull.body or "")
    if (
        found is None
        or pull.state != "open"
        or (author is not None and (pull.user is None or pull.user.login != author))
        or pull.head.repo is None
        or pull.head.repo.full_name.casefold() != repository.casefold()
    ):
        return None
    try:
        data = base64.b32decode(found["facts"])
        certified = decode_wire(data, Certified, source=f"#{pull.number}")
    except (binascii.Error, InputError):
        return None
    # A tier or a time that cannot be compared would look older than everything.
    comparable = certified.tier in load_tiers() and instant(certified.finished) > instant("")
    return certified if comparable and pull.head.ref == _branch(certified) else None


def why_open_is_ahead(new: Certified, standing: Certified) -> str | None:
    """Return why an open certification is not to be replaced; nothing when it may be. Pure.

    The rules are those for what stands on the base: no lower tier, no older evidence. Evidence of
    the same moment is the same evidence, and may mend what was written of it.

    Args:
        new: what would be proposed.
        standing: what the playbook's open pull request or its branch certifies.
    """
    if tier_rank(new.tier) < tier_rank(standing.tier):
        return f"tier {new.tier} is below {standing.tier}, which is proposed already"
    if instant(new.finished) < instant(standing.finished):
        ends = f"the evidence ends {new.finished}"
        return f"{ends}; what is proposed already is of {standing.finished}"
    return None


def _branch(certified: Certified) -> str:
    return BRANCH_PREFIX + certified.playbook
