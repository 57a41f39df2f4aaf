"""What is asked of GitHub, in the words of this project; ``rest.py`` knows how asking can fail.

Every method may raise :class:`DeliveryError`; what else it raises or returns is said with it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.answers import (
    Annotated,
    Artifact,
    CheckRun,
    Comment,
    Label,
    PullRequest,
    User,
)
from aprqa_ci.github.git_data import GitData
from aprqa_ci.github.issues import Issues
from aprqa_ci.github.pull_course import PullCourse
from aprqa_ci.github.refusals import Need, RefusedError
from aprqa_ci.github.rest import Patience, Rest

__all__ = ["MAX_ANNOTATIONS", "Client", "connect"]

MAX_ANNOTATIONS = 50
"""The most annotations that one request about a check run may bring."""

_ACTIONS_BOT = "github-actions[bot]"
_PULLS = "pull-requests: write"
_LABELS = "pull-requests: write` or, for an issue, `issues: write"


class _Repository(msgspec.Struct, frozen=True):
    full_name: str
    default_branch: str


def connect(
    repository: str,
    *,
    token: str,
    api_url: str,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    patience: Patience | None = None,
    timeout: float = 20.0,
    pace: float = 1.0,
) -> "Client":
    """Connect to a repository; it is asked for at once, so that a wrong token shows early.

    Args:
        repository: ``owner/name``. If it was renamed, the new name is used from here on: GitHub
            answers writes to the old one with a redirect that nobody follows.
        token: of an app, of a job or of a person.
        api_url: for example ``https://api.github.com``.
        clock: gives the time in seconds since 1970.
        sleep: waits so many seconds.
        patience: how often and how long; the defaults of :class:`Patience`.
        timeout: seconds without an answer before a request counts as lost.
        pace: seconds between two writes; GitHub asks for one.

    Raises:
        DeliveryError: the repository cannot be read.
    """
    rest = Rest(
        token=token,
        api_url=api_url,
        clock=clock,
        sleep=sleep,
        patience=patience or Patience(),
        timeout=timeout,
        pace=pace,
    )
    need = Need(what=f"read the repository {repository}", permission="contents: read")
    found = rest.get(f"/repos/{repository}", _Repository, need)
    return Client(rest=rest, repository=found.full_name, default_branch=found.default_branch)


@dataclass(frozen=True, kw_only=True)
class Client:
    """One repository on GitHub; made by :func:`connect`."""

    rest: Rest
    repository: str
    """``owner/name``."""
    default_branch: str

    @property
    def git(self) -> GitData:
        """Branches, commits and files."""
        return GitData(rest=self.rest, repository=self.repository)

    @property
    def course(self) -> PullCourse:
        """Reviews, auto-merge and the end of pull requests."""
        return PullCourse(rest=self.rest, repository=self.repository)

    @property
    def issues(self) -> Issues:
        """Issues that are no pull requests."""
        return Issues(rest=self.rest, repository=self.repository)

    def own_login(self) -> str:
        """Return whose name our comments carry.

        The token of a job may not ask who it is; it is ``github-actions[bot]``.
        """
        try:
            need = Need(what="ask whose token this is", permission="metadata: read")
            return self.rest.get("/user", User, need).login
        except RefusedError as refusal:
            if refusal.status in {403, 404}:
                return _ACTIONS_BOT
            raise

    # Comments

    def comments(self, pull: int) -> Iterator[Comment]:
        """Return every comment on a pull request, oldest first."""
        need = Need(what=f"read the comments of pull request #{pull}", permission=_PULLS)
        return self.rest.pages(self._path(f"issues/{pull}/comments"), Comment, need)

    def find_comment(
        self, pull: int, *, author: str, ours: Callable[[str], bool]
    ) -> Comment | None:
        """Return the oldest comment of an author that ``ours`` accepts by its text."""
        for comment in self.comments(pull):
            if comment.user is not None and comment.user.login == author and ours(comment.body):
                return comment
        return None

    def create_comment(
        self, pull: int, body: str, *, author: str, ours: Callable[[str], bool]
    ) -> Comment:
        """Comment on a pull request; a comment whose answer is lost is looked for, not repeated."""
        return self.rest.create(
            self._path(f"issues/{pull}/comments"),
            {"body": body},
            Comment,
            Need(what=f"comment on pull request #{pull}", permission=_PULLS),
            find=lambda: self.find_comment(pull, author=author, ours=ours),
        )

    def update_comment(self, comment: int, body: str) -> Comment:
        """Replace the text of a comment."""
        need = Need(what="update the comment", permission=_PULLS)
        path = self._path(f"issues/comments/{comment}")
        return self.rest.change("PATCH", path, {"body": body}, Comment, need)

    # Pull requests

    def pull_requests(self, *, head: str, state: str = "open") -> list[PullRequest]:
        """Return the pull requests of a head, ``owner:branch``, newest first."""
        need = Need(what="list pull requests", permission="pull-requests: read")
        found = self.rest.pages(self._path("pulls"), PullRequest, need, state=state, head=head)
        # Without an owner in it GitHub ignores the filter.
        return [pull for pull in found if pull.head.ref == head.partition(":")[2]]

    def create_pull_request(self, *, branch: str, base: str, title: str, body: str) -> PullRequest:
        """Open a pull request from a branch of this repository, or return the one that is open."""
        need = Need(what=f"open the pull request of {branch}", permission=_PULLS)
        sent = {"head": branch, "base": base, "title": title, "body": body}

        def find() -> PullRequest | None:
            own = self.pull_requests(head=f"{self.repository.partition('/')[0]}:{branch}")
            return next((pull for pull in own if pull.base.ref == base), None)

        try:
            return self.rest.create(self._path("pulls"), sent, PullRequest, need, find=find)
        except RefusedError as refusal:
            if refusal.status == 422 and "already exists" in refusal.said and (found := find()):
                return found
            raise

    def update_pull_request(self, number: int, *, title: str, body: str) -> PullRequest:
        """Replace title and text of a pull request."""
        need = Need(what=f"update pull request #{number}", permission=_PULLS)
        path = self._path(f"pulls/{number}")
        return self.rest.change("PATCH", path, {"title": title, "body": body}, PullRequest, need)

    def add_labels(self, number: int, names: Sequence[str]) -> None:
        """Add labels; GitHub makes those that the repository does not have."""
        need = Need(what=f"label #{number}", permission=_LABELS)
        path = self._path(f"issues/{number}/labels")
        self.rest.change("POST", path, {"labels": list(names)}, list[Label], need)

    def remove_label(self, number: int, name: str) -> None:
        """Take a label away, if it is there."""
        need = Need(what=f"label #{number}", permission=_LABELS)
        self.rest.remove(self._path(f"issues/{number}/labels/{quote(name, safe='')}"), need)

    # Checks and artifacts

    def check_runs(self, sha: str, name: str) -> list[CheckRun]:
        """Return the check runs of a name on a commit."""
        need = Need(what=f"list the check runs {name}", permission="checks: write")
        path = self._path(f"commits/{sha}/check-runs")
        runs = self.rest.pages(path, CheckRun, need, inside="check_runs", check_name=name)
        return [run for run in runs if run.name == name]

    def create_check_run(
        self,
        *,
        name: str,
        sha: str,
        conclusion: str,
        title: str,
        summary: str,
        annotations: Sequence[Annotated] = (),
        external_id: str,
    ) -> CheckRun:
        """Make a completed check run; annotations follow in batches of 50.

        Args:
            name: what it is called.
            sha: the commit.
            conclusion: ``success``, ``failure`` or ``neutral``.
            title: one line.
            summary: finished Markdown of at most 65,535 characters.
            annotations: the messages.
            external_id: names this run of ours, to find it again when the answer is lost.
        """
        need = Need(what=f"create the check run {name}", permission="checks: write")
        batches = [
            annotations[start : start + MAX_ANNOTATIONS]
            for start in range(0, len(annotations), MAX_ANNOTATIONS)
        ] or [()]

        def output(batch: Sequence[Annotated]) -> dict[str, Any]:
            told = [_annotation(each) for each in batch]
            return {"title": title, "summary": summary} | ({"annotations": told} if told else {})

        def find() -> CheckRun | None:
            runs = self.check_runs(sha, name)
            return next((run for run in runs if run.external_id == external_id), None)

        body = {
            "name": name,
            "head_sha": sha,
            "external_id": external_id,
            "status": "completed",
            "conclusion": conclusion,
            "output": output(batches[0]),
        }
        made = self.rest.create(self._path("check-runs"), body, CheckRun, need, find=find)
        for batch in batches[1:]:
            path = self._path(f"check-runs/{made.id}")
            # An update adds its annotations, so one whose answer is lost may show a batch twice.
            self.rest.change("PATCH", path, {"output": output(batch)}, CheckRun, need)
        return made

    def artifacts(self, run: int) -> Iterator[Artifact]:
        """Return what a run left behind, the expired too."""
        need = Need(what=f"list the artifacts of run {run}", permission="actions: read")
        path = self._path(f"actions/runs/{run}/artifacts")
        return self.rest.pages(path, Artifact, need, inside="artifacts")

    def download_artifact(self, artifact: Artifact, *, limit: int) -> bytes:
        """Return the archive of an artifact.

        Raises:
            DeliveryError: it has expired, or has more than ``limit`` bytes.
        """
        if artifact.expired:
            what = f"artifact {artifact.name} has expired; run the workflow again"
            raise DeliveryError(what)
        if artifact.size_in_bytes > limit:
            size = artifact.size_in_bytes
            what = f"artifact {artifact.name} has {size} bytes, more than {limit}"
            raise DeliveryError(what)
        need = Need(what=f"download artifact {artifact.name}", permission="actions: read")
        return self.rest.download(artifact.archive_download_url, limit, need)

    def _path(self, rest: str) -> str:
        return f"/repos/{self.repository}/{rest}"


def _annotation(annotation: Annotated) -> dict[str, Any]:
    told = {
        "path": annotation.path,
        "start_line": annotation.line,
        "end_line": annotation.line,
        "annotation_level": annotation.level,
        "message": annotation.message,
    }
    return told | ({"title": annotation.title} if annotation.title else {})
