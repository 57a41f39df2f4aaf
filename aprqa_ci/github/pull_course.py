"""What becomes of a pull request once it is open: reviews, auto-merge, its end."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from aprqa_ci.github.answers import IssueEvent, PullRequest
from aprqa_ci.github.refusals import Need
from aprqa_ci.github.rest import Rest

__all__ = ["PullCourse"]

_PULLS = "pull-requests: write"
# GitHub's published schema (@octokit/graphql-schema 15.26.1) has these names.
_ENABLE = (
    "mutation($input: EnablePullRequestAutoMergeInput!) {"
    " enablePullRequestAutoMerge(input: $input) {"
    " pullRequest { number autoMergeRequest { mergeMethod } } } }"
)


class _Enabled(msgspec.Struct, frozen=True):
    number: int


class _Payload(msgspec.Struct, frozen=True, rename="camel"):
    pull_request: _Enabled


class _Data(msgspec.Struct, frozen=True):
    payload: _Payload = msgspec.field(name="enablePullRequestAutoMerge")


class _Answered(msgspec.Struct, frozen=True):
    data: _Data


@dataclass(frozen=True, kw_only=True)
class PullCourse:
    """The course of one repository's pull requests. Every method may raise `DeliveryError`."""

    rest: Rest
    repository: str
    """``owner/name``."""

    def get(self, number: int) -> PullRequest:
        """Return a pull request as it is now."""
        need = Need(what=f"read pull request #{number}", permission="pull-requests: read")
        return self.rest.get(self._path(f"pulls/{number}"), PullRequest, need)

    def open(self) -> Iterator[PullRequest]:
        """Return every open pull request, whoever opened it."""
        need = Need(what="list pull requests", permission="pull-requests: read")
        return self.rest.pages(self._path("pulls"), PullRequest, need, state="open")

    def events(self, number: int) -> Iterator[IssueEvent]:
        """Return what happened to a pull request, oldest first."""
        need = Need(what=f"read the events of pull request #{number}", permission="issues: read")
        return self.rest.pages(self._path(f"issues/{number}/events"), IssueEvent, need)

    def request_reviews(self, number: int, users: Sequence[str], teams: Sequence[str]) -> None:
        """Ask users, by login, and teams, by slug, for a review.

        A request whose answer is lost is looked for, so that nobody is asked twice.
        """
        names = ", ".join([*users, *(f"team {team}" for team in teams)])
        need = Need(what=f"ask {names} to review pull request #{number}", permission=_PULLS)
        body = {"reviewers": list(users), "team_reviewers": list(teams)}

        def find() -> PullRequest | None:
            found = self.get(number)
            asked = {user.login.casefold() for user in found.requested_reviewers}
            asked_teams = {team.slug.casefold() for team in found.requested_teams}
            is_there = asked.issuperset(name.casefold() for name in users)
            are_there = asked_teams.issuperset(name.casefold() for name in teams)
            return found if is_there and are_there else None

        path = self._path(f"pulls/{number}/requested_reviewers")
        self.rest.create(path, body, PullRequest, need, find=find)

    def enable_auto_merge(self, pull: PullRequest, *, method: str, head: str) -> None:
        """Have GitHub merge a pull request as soon as its base branch's rules allow.

        Args:
            pull: the pull request.
            method: ``merge``, ``squash`` or ``rebase``.
            head: the commit that is meant; with another one at its head GitHub refuses.
        """
        need = Need(
            what=f"have pull request #{pull.number} merged automatically",
            permission="contents: write` and `pull-requests: write",
        )
        sent = {
            "pullRequestId": pull.node_id,
            "mergeMethod": method.upper(),
            "expectedHeadOid": head,
        }
        self.rest.mutate(
            _ENABLE,
            {"input": sent},
            _Answered,
            need,
            done=lambda: self.get(pull.number).auto_merge is not None,
        )

    def close(self, number: int) -> None:
        """Close a pull request without merging it."""
        need = Need(what=f"close pull request #{number}", permission=_PULLS)
        path = self._path(f"pulls/{number}")
        self.rest.change("PATCH", path, {"state": "closed"}, PullRequest, need)

    def _path(self, rest: str) -> str:
        return f"/repos/{self.repository}/{rest}"
