"""What GitHub's answers are read into: the few fields that are needed of each."""

from dataclasses import dataclass

import msgspec

__all__ = [
    "Annotated",
    "Artifact",
    "CheckRun",
    "Comment",
    "Commit",
    "Issue",
    "IssueEvent",
    "Label",
    "PullRequest",
    "Ref",
    "TreeEntry",
    "User",
]


class User(msgspec.Struct, frozen=True):
    """An account."""

    login: str


class Comment(msgspec.Struct, frozen=True):
    """A comment on a pull request or an issue."""

    id: int
    html_url: str
    body: str = ""
    user: User | None = None
    """Absent when the account is gone."""


class Label(msgspec.Struct, frozen=True):
    """A label."""

    name: str


class _Repository(msgspec.Struct, frozen=True):
    full_name: str


class _Side(msgspec.Struct, frozen=True):
    ref: str
    sha: str
    repo: _Repository | None = None
    """Absent when the fork was deleted, whatever GitHub's description says."""


class _Team(msgspec.Struct, frozen=True):
    slug: str


class _AutoMerge(msgspec.Struct, frozen=True):
    merge_method: str


class PullRequest(msgspec.Struct, frozen=True):
    """A pull request."""

    number: int
    html_url: str
    state: str
    title: str
    head: _Side
    base: _Side
    body: str | None = None
    labels: tuple[Label, ...] = ()
    node_id: str = ""
    """Its name in GraphQL."""
    user: User | None = None
    """Absent when the account is gone."""
    requested_reviewers: tuple[User, ...] = ()
    """Who is asked now; who has answered is no longer among them."""
    requested_teams: tuple[_Team, ...] = ()
    auto_merge: _AutoMerge | None = None


class _PullOfIssue(msgspec.Struct, frozen=True):
    pass


class Issue(msgspec.Struct, frozen=True):
    """An issue, or a pull request as GitHub lists it among them."""

    number: int
    html_url: str
    state: str
    title: str
    body: str | None = None
    labels: tuple[Label, ...] = ()
    user: User | None = None
    """Absent when the account is gone."""
    closed_at: str | None = None
    state_reason: str | None = None
    pull_request: _PullOfIssue | None = None
    """Of a pull request alone."""


class IssueEvent(msgspec.Struct, frozen=True):
    """Something that happened to a pull request."""

    event: str
    requested_reviewer: User | None = None
    requested_team: _Team | None = None


class _Target(msgspec.Struct, frozen=True):
    sha: str


class Ref(msgspec.Struct, frozen=True):
    """A branch and the commit that it is at."""

    ref: str
    object: _Target


class Commit(msgspec.Struct, frozen=True):
    """A commit, as git keeps it."""

    sha: str
    tree: _Target
    parents: tuple[_Target, ...] = ()


class TreeEntry(msgspec.Struct, frozen=True):
    """A file or a directory."""

    name: str
    type: str
    sha: str
    size: int = 0


class CheckRun(msgspec.Struct, frozen=True):
    """A check run."""

    id: int
    name: str
    html_url: str | None = None
    external_id: str | None = None


class Artifact(msgspec.Struct, frozen=True):
    """What a run left behind."""

    id: int
    name: str
    size_in_bytes: int
    expired: bool
    archive_download_url: str


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """A message at a line of a file, in a check run."""

    path: str
    line: int
    level: str
    """``notice``, ``warning`` or ``failure``."""
    message: str
    title: str = ""
