"""What the workflow was started by: the event file and the environment, read strictly.

An event file is written by GitHub and filled by strangers: branch names, titles, bodies. Only the
few fields that are needed are read, each is held against its pattern, and nothing else of the file
is looked at.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded

__all__ = ["EventContext", "PullRequestRef", "WorkflowRunRef", "read_context"]

_MAX_EVENT_BYTES = 32 << 20
"""GitHub's own limit of a payload is 25 MB."""

_DEPENDABOT = "dependabot[bot]"

_Sha = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")]
# What git allows in the name of a branch (git-check-ref-format), as far as it could do harm.
_Branch = Annotated[
    str, msgspec.Meta(pattern=r"\A[^\x00-\x20\x7f~^:?*\[\\]+\Z", min_length=1, max_length=1024)
]
_FullName = Annotated[
    str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/[A-Za-z0-9._-]{1,100}\Z")
]
_Number = Annotated[int, msgspec.Meta(ge=1, le=2**53)]


@dataclass(frozen=True, kw_only=True)
class PullRequestRef:
    """Which pull request the event is about."""

    number: int
    head_sha: str
    head_ref: str
    """The branch's name, without ``refs/heads/``."""
    base_sha: str
    base_ref: str
    is_fork: bool
    """Whether the head is in another repository, or in one that is gone."""


@dataclass(frozen=True, kw_only=True)
class WorkflowRunRef:
    """The run whose end started this one; which pull request it was for is asked of the API."""

    id: int
    attempt: int
    event: str
    """What had started it, for example ``pull_request``."""
    conclusion: str | None
    head_sha: str
    head_branch: str
    head_owner: str
    """Who owns the repository of the head; empty when that is gone."""
    is_fork: bool


@dataclass(frozen=True, kw_only=True)
class EventContext:
    """All that is known of why and where this job runs."""

    event: str
    repository: str
    """``owner/name``."""
    default_branch: str
    ref: str
    """For example ``refs/heads/main`` or ``refs/pull/7/merge``."""
    sha: str
    actor: str
    run_id: int
    run_attempt: int
    server_url: str
    api_url: str
    action: str | None = None
    """What happened, of events that know several things, for example ``closed``."""
    deleted: bool = False
    """Of a push: whether the branch was deleted."""
    pull_request: PullRequestRef | None = None
    workflow_run: WorkflowRunRef | None = None

    @property
    def run_url(self) -> str:
        """Return where the run is shown."""
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"

    @property
    def attempt_url(self) -> str:
        """Return where this attempt of the run is shown."""
        return f"{self.run_url}/attempts/{self.run_attempt}"

    @property
    def on_default_branch(self) -> bool:
        """Whether it runs on what the default branch holds."""
        return self.ref == f"refs/heads/{self.default_branch}"

    @property
    def read_only(self) -> bool:
        """Whether GitHub gives the job a token that can only read: a fork's, or Dependabot's."""
        of_fork = self.pull_request is not None and self.pull_request.is_fork
        return of_fork or (self.pull_request is not None and self.actor == _DEPENDABOT)


class _Repository(msgspec.Struct, frozen=True):
    full_name: _FullName
    default_branch: _Branch | None = None


class _Side(msgspec.Struct, frozen=True):
    sha: _Sha
    ref: _Branch
    repo: _Repository | None = None


class _PullRequest(msgspec.Struct, frozen=True):
    number: _Number
    head: _Side
    base: _Side


class _WorkflowRun(msgspec.Struct, frozen=True):
    id: _Number
    event: str
    head_sha: _Sha
    head_branch: _Branch | None = None
    run_attempt: _Number = 1
    conclusion: str | None = None
    head_repository: _Repository | None = None


class _Event(msgspec.Struct, frozen=True):
    """The part of every event that is read; a schedule has no repository."""

    repository: _Repository | None = None
    action: str | None = None
    deleted: bool = False
    pull_request: _PullRequest | None = None
    workflow_run: _WorkflowRun | None = None


_PATTERNS = {
    "GITHUB_REPOSITORY": r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/[A-Za-z0-9._-]{1,100}",
    "GITHUB_EVENT_NAME": r"[a-z_]{1,40}",
    "GITHUB_EVENT_PATH": r"[^\x00]+",
    "GITHUB_REF": r"refs/[^\x00-\x20\x7f~^:?*\[\\]{1,1024}",
    "GITHUB_SHA": r"[0-9a-f]{40}|[0-9a-f]{64}",
    "GITHUB_ACTOR": r"[A-Za-z0-9\[\]_-]{1,100}",
    "GITHUB_RUN_ID": r"[0-9]{1,15}",
    "GITHUB_RUN_ATTEMPT": r"[0-9]{1,5}",
    "GITHUB_SERVER_URL": r"https?://[A-Za-z0-9.:-]+",
    "GITHUB_API_URL": r"https?://[A-Za-z0-9.:/-]+",
}
_DEFAULTS = {
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_API_URL": "https://api.github.com",
}


def read_context(environment: Mapping[str, str]) -> EventContext:
    """Read the event file and the variables that the runner sets.

    Raises:
        InputError: a variable is missing or has an unexpected form, or the event file is
            unreadable, too large, or of another shape. All such variables are named.
    """
    values = {**_DEFAULTS, **{name: text for name, text in environment.items() if text}}
    if problems := list(_faults(values)):
        raise InputError(problems)
    path = Path(values["GITHUB_EVENT_PATH"])
    event = _read_event(path)
    own, pull, run = event.repository, event.pull_request, event.workflow_run
    if own is not None and own.full_name.lower() != values["GITHUB_REPOSITORY"].lower():
        what = f"the event is of {own.full_name}, the job of {values['GITHUB_REPOSITORY']}"
        raise InputError(Problem(what=what, path=path))
    name = values["GITHUB_REPOSITORY"]
    return EventContext(
        event=values["GITHUB_EVENT_NAME"],
        repository=name,
        default_branch=(own and own.default_branch) or "main",
        ref=values["GITHUB_REF"],
        sha=values["GITHUB_SHA"],
        actor=values["GITHUB_ACTOR"],
        run_id=int(values["GITHUB_RUN_ID"]),
        run_attempt=int(values["GITHUB_RUN_ATTEMPT"]),
        server_url=values["GITHUB_SERVER_URL"],
        api_url=values["GITHUB_API_URL"],
        action=event.action,
        deleted=event.deleted,
        pull_request=None if pull is None else _pull_request(pull, name),
        workflow_run=None if run is None else _workflow_run(run, name),
    )


def _faults(values: Mapping[str, str]) -> Iterator[Problem]:
    for name, pattern in _PATTERNS.items():
        if name not in values:
            hint = "GitHub Actions sets it; outside of a workflow there is nothing to publish to"
            yield Problem(what=f"{name} is not set", hint=hint)
        elif not re.fullmatch(pattern, values[name]):
            yield Problem(what=f"{name} has an unexpected form: {values[name][:200]!r}")


def _read_event(path: Path) -> _Event:
    data = read_bounded(path, _MAX_EVENT_BYTES)
    try:
        return msgspec.json.decode(data, type=_Event)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        what = f"the event is not of the shape that GitHub documents: {error}"
        raise InputError(Problem(what=what, path=path)) from error


def _pull_request(pull: _PullRequest, repository: str) -> PullRequestRef:
    return PullRequestRef(
        number=pull.number,
        head_sha=pull.head.sha,
        head_ref=pull.head.ref,
        base_sha=pull.base.sha,
        base_ref=pull.base.ref,
        is_fork=_is_other(pull.head.repo, repository),
    )


def _workflow_run(run: _WorkflowRun, repository: str) -> WorkflowRunRef:
    head = run.head_repository
    return WorkflowRunRef(
        id=run.id,
        attempt=run.run_attempt,
        event=run.event,
        conclusion=run.conclusion,
        head_sha=run.head_sha,
        head_branch=run.head_branch or "",
        head_owner="" if head is None else head.full_name.partition("/")[0],
        is_fork=_is_other(head, repository),
    )


def _is_other(repository: _Repository | None, own: str) -> bool:
    """Whether it is not our repository; one that is gone was a fork."""
    return repository is None or repository.full_name.lower() != own.lower()
