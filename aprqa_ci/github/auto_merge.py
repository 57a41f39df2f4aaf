"""Auto-merge: GitHub merges the pull request once its base branch's rules are met.

Never merged by us: what the rules of the branch do not ask for, nobody has decided.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import IssueEvent, PullRequest

__all__ = ["AutoMerge", "missing_setting", "why_left_alone"]


class AutoMerge(StrEnum):
    """Whether a pull request is merged automatically, and how."""

    OFF = "off"
    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


_SWITCHED = re.compile(r"auto_(?:merge|squash|rebase)_(?P<to>enabled|disabled)")

_GENERAL = "Settings → General → Pull Requests"
_RULES = "Settings → Rules (or Branches)"
# What GitHub says, in lower case, and the setting that it means; "{base}" is the base branch.
_OTHER_WAY = f"allow this way of merging under {_GENERAL}, or choose another one"
_NOTHING_OPEN = (
    "{base} requires nothing that is still open, so there is nothing to wait for; merge it, or "
    f"require a review or a check of {{base}} under {_RULES}"
)
_SETTINGS = {
    "auto merge is not allowed": f"turn on {_GENERAL} → Allow auto-merge",
    "protected branch rules not configured": _NOTHING_OPEN,
    "clean status": _NOTHING_OPEN,
    "unstable status": _NOTHING_OPEN,
    "merge method": _OTHER_WAY,
    "merging is not allowed": _OTHER_WAY,
}


def missing_setting(said: str, *, base: str) -> str:
    """Return which setting GitHub's refusal means; nothing when it means another thing. Pure."""
    for words, setting in _SETTINGS.items():
        if words in said.casefold():
            return setting.format(base=base)
    return ""


def why_left_alone(pull: "PullRequest", events: Iterable["IssueEvent"]) -> str | None:
    """Return why auto-merge is not to be touched; nothing when it is to be enabled. Pure.

    Args:
        pull: the pull request.
        events: what happened to it so far, oldest first.
    """
    if pull.auto_merge is not None:
        return f"on already ({pull.auto_merge.merge_method})"
    switched = [found["to"] for event in events if (found := _SWITCHED.fullmatch(event.event))]
    if switched and switched[-1] == "disabled":
        return "somebody has switched it off for this pull request, and that stands"
    return None
