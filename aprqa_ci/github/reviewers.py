"""Who is asked to review a certification pull request: each once, whatever becomes of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aprqa_ci.errors import InputError, Problem

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.answers import IssueEvent, PullRequest

__all__ = ["MOST_REVIEWERS", "Reviewers", "not_yet_asked", "read_reviewers"]

MOST_REVIEWERS = 15
"""More reviewers than these are nobody's reviewers."""

_LOGIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98})(?:\[bot\])?")
_TEAM = re.compile(r"(?P<owner>[A-Za-z0-9][A-Za-z0-9-]{0,98})/(?P<slug>[a-z0-9][a-z0-9_.-]{0,98})")


@dataclass(frozen=True, kw_only=True)
class Reviewers:
    """Who is asked for a review."""

    users: tuple[str, ...] = ()
    """By login."""
    teams: tuple[str, ...] = ()
    """By slug; all of the repository's owner."""

    def __bool__(self) -> bool:
        """Whether there is anybody."""
        return bool(self.users or self.teams)

    def __str__(self) -> str:
        """Return their names for people."""
        return ", ".join([*self.users, *(f"team {team}" for team in self.teams)])


def read_reviewers(names: Iterable[str], *, owner: str) -> Reviewers:
    """Read ``user`` and ``org/team`` names.

    Args:
        names: as a user wrote them; the same one twice counts once.
        owner: of the repository; GitHub asks no other organization's teams.

    Raises:
        InputError: with every name that is none.
    """
    users: dict[str, str] = {}
    teams: dict[str, str] = {}
    problems = []
    for name in names:
        team = _TEAM.fullmatch(name)
        if team is not None and team["owner"].casefold() == owner.casefold():
            teams.setdefault(team["slug"], team["slug"])
        elif team is not None:
            what = f"the reviewer {name!r} is a team of {team['owner']}, not of {owner}"
            hint = "GitHub asks only teams of the repository's own organization"
            problems.append(Problem(what=what, hint=hint))
        elif _LOGIN.fullmatch(name):
            users.setdefault(name.casefold(), name)
        else:
            hint = "a user's login, or org/team with the team's name as in its address"
            problems.append(Problem(what=f"no reviewer: {name[:100]!r}", hint=hint))
    if len(users) + len(teams) > MOST_REVIEWERS:
        problems.append(Problem(what=f"more than {MOST_REVIEWERS} reviewers"))
    if problems:
        raise InputError(problems)
    return Reviewers(users=tuple(users.values()), teams=tuple(teams.values()))


def not_yet_asked(
    wanted: Reviewers, pull: "PullRequest", events: Iterable["IssueEvent"]
) -> Reviewers:
    """Return those who never were asked, the author left out. Pure.

    Who has reviewed is no longer among the requested, and who was taken off by a person neither; so
    the events decide, which forget nothing.

    Args:
        wanted: who is to be asked.
        pull: the pull request.
        events: what happened to it so far.
    """
    users = {user.login.casefold() for user in pull.requested_reviewers}
    teams = {team.slug.casefold() for team in pull.requested_teams}
    for event in events:
        if event.event != "review_requested":
            continue
        if event.requested_reviewer is not None:
            users.add(event.requested_reviewer.login.casefold())
        if event.requested_team is not None:
            teams.add(event.requested_team.slug.casefold())
    if pull.user is not None:
        # GitHub refuses the whole request for the author's sake, and the others would not be asked.
        users.add(pull.user.login.casefold())
    return Reviewers(
        users=tuple(name for name in wanted.users if name.casefold() not in users),
        teams=tuple(name for name in wanted.teams if name.casefold() not in teams),
    )
