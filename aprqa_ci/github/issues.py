"""The issues of a repository, in the words of this project."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aprqa_ci.github.answers import Comment, Issue
from aprqa_ci.github.refusals import Need
from aprqa_ci.github.rest import Rest

__all__ = ["Issues"]

_WRITE = "issues: write"


@dataclass(frozen=True, kw_only=True)
class Issues:
    """The issues of one repository. Every method may raise :class:`DeliveryError`."""

    rest: Rest
    repository: str
    """``owner/name``."""

    def all(self) -> Iterator[Issue]:
        """Return every issue, open or closed, pull requests among them, newest first.

        GitHub could filter by author; it is not known to find an app by its name, and an issue
        that is not found would be opened twice.
        """
        need = Need(what="list the issues", permission="issues: read")
        return self.rest.pages(self._path("issues"), Issue, need, state="all")

    def get(self, number: int) -> Issue:
        """Return an issue."""
        need = Need(what=f"read issue #{number}", permission="issues: read")
        return self.rest.get(self._path(f"issues/{number}"), Issue, need)

    def create(
        self, *, title: str, body: str, labels: tuple[str, ...], find: Callable[[], Issue | None]
    ) -> Issue:
        """Open an issue.

        Args:
            title: one line.
            body: finished Markdown.
            labels: GitHub makes those that the repository does not have.
            find: looks for the issue, when the answer to an attempt was lost.
        """
        need = Need(what="open an issue", permission=_WRITE)
        sent = {"title": title, "body": body, "labels": list(labels)}
        return self.rest.create(self._path("issues"), sent, Issue, need, find=find)

    def change(self, number: int, **fields: Any) -> Issue:  # noqa: ANN401 - GitHub's fields
        """Change what is named of an issue: title, body, state, state_reason."""
        need = Need(what=f"change issue #{number}", permission=_WRITE)
        return self.rest.change("PATCH", self._path(f"issues/{number}"), fields, Issue, need)

    def say_once(self, number: int, body: str, *, author: str, ours: Callable[[str], bool]) -> None:
        """Comment on an issue, unless a comment of the author is there that ``ours`` accepts."""
        path = self._path(f"issues/{number}/comments")
        reading = Need(what=f"read the comments of issue #{number}", permission="issues: read")

        def find() -> Comment | None:
            for comment in self.rest.pages(path, Comment, reading):
                if comment.user is not None and comment.user.login == author and ours(comment.body):
                    return comment
            return None

        if find() is None:
            need = Need(what=f"comment on issue #{number}", permission=_WRITE)
            self.rest.create(path, {"body": body}, Comment, need, find=find)

    def _path(self, rest: str) -> str:
        return f"/repos/{self.repository}/{rest}"
