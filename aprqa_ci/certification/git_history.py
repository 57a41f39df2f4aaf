"""The history of a checkout, read with git: which commit wrote a line, and what a commit holds.

The checkout may be a stranger's, so nothing that its configuration or its replacement objects could
make of its history is asked for, and the working copy's filters are never run.
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.wire import MAX_WIRE_BYTES

__all__ = ["History", "NoHistoryError", "history_of"]

_SECONDS = 120
_ENVIRONMENT = {
    "LC_ALL": "C",
    # Objects and parents that a repository may put in the place of the real ones.
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    # Nothing is fetched, asked or locked by the way.
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}
_BLAMED = re.compile(rb"(?P<commit>[0-9a-f]{40,64}) [0-9]+ (?P<line>[0-9]+)(?: [0-9]+)?")


class NoHistoryError(Exception):
    """There is no history to read; the message says why."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The commits that lead to the head of a checkout."""

    root: Path
    """What paths are relative to: the checkout, or a directory in it."""
    environment: Mapping[str, str]

    def file(self, path: str, commit: str = "HEAD") -> bytes | None:
        """Return a file's content at a commit; nothing where it is not there, or is too large."""
        name = f"{commit}:./{path}"
        size = self._ask("cat-file", "-s", name)
        if size is None or not size.strip().isdigit() or int(size) > MAX_WIRE_BYTES:
            return None
        return self._ask("cat-file", "blob", name)

    def commits_by_line(self, path: str) -> dict[int, str]:
        """Return the commit that wrote each line of a file as it is at the head, counted from 1."""
        told = self._ask(
            "blame", "--porcelain", "--no-textconv", "--ignore-revs-file=", "HEAD", "--", path
        )
        found = (_BLAMED.fullmatch(line) for line in (told or b"").split(b"\n"))
        return {int(each["line"]): each["commit"].decode() for each in found if each}

    def _ask(self, *arguments: str) -> bytes | None:
        return _git(self.root, self.environment, arguments)


def history_of(root: Path, environment: Mapping[str, str]) -> History:
    """Open the history of the checkout that a directory is in.

    Args:
        root: the directory.
        environment: of this process; git is found and configured by it.

    Raises:
        NoHistoryError: git is not there, the directory is in no checkout or one without commits,
            or its history is cut off.
    """
    kept = {**environment, **_ENVIRONMENT}
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        kept.pop(name, None)
    if _git(root, kept, ["--version"]) is None:
        msg = "git is not installed here, or does not run"
        raise NoHistoryError(msg)
    if _git(root, kept, ["rev-parse", "--is-inside-work-tree"]) != b"true\n":
        msg = f"{root} is no git checkout"
        raise NoHistoryError(msg)
    if _git(root, kept, ["rev-parse", "--verify", "--quiet", "HEAD"]) is None:
        msg = "nothing is committed yet"
        raise NoHistoryError(msg)
    if _git(root, kept, ["rev-parse", "--is-shallow-repository"]) != b"false\n":
        msg = "the history is cut off: fetch all of it (git fetch --unshallow)"
        raise NoHistoryError(msg)
    return History(root=root, environment=kept)


def _git(root: Path, environment: Mapping[str, str], arguments: Sequence[str]) -> bytes | None:
    """Return what git says; nothing when it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - the git of whoever calls
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=dict(environment),
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
