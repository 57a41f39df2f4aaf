"""Branches, commits and files of a repository, through GitHub's git data API."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.answers import Commit, Ref, TreeEntry
from aprqa_ci.github.refusals import Need, RefusedError
from aprqa_ci.github.rest import Rest

__all__ = ["GitData"]

_MAX_CONTENT = 32 << 20
_MAX_INLINE = 100_000
"""Text up to so many bytes is sent with the tree: a request of its own costs a second, which is the
pace that GitHub asks writers to keep."""
_CONTENTS = "contents: write"


class _Made(msgspec.Struct, frozen=True):
    sha: str


class _Blob(msgspec.Struct, frozen=True):
    content: str
    encoding: str


class _Comparison(msgspec.Struct, frozen=True):
    merge_base_commit: _Made


@dataclass(frozen=True, kw_only=True)
class GitData:
    """The git side of one repository. Every method may raise :class:`DeliveryError`."""

    rest: Rest
    repository: str
    """``owner/name``."""

    def branch_head(self, branch: str) -> str | None:
        """Return the commit that a branch is at, or nothing when there is no such branch."""
        need = Need(what=f"read the branch {branch}", permission="contents: read")
        found = self._found(self._path(f"git/ref/heads/{quote(branch)}"), Ref, need)
        return None if found is None else str(found.object.sha)

    def commit(self, sha: str) -> Commit:
        """Return a commit."""
        need = Need(what=f"read the commit {sha[:12]}", permission="contents: read")
        return self.rest.get(self._path(f"git/commits/{sha}"), Commit, need)

    def merge_base(self, base: str, head: str) -> str | None:
        """Return the newest commit that both come from, or nothing when there is none.

        Both may be in forks: ``owner:branch``.
        """
        need = Need(what=f"compare {base} with {head}", permission="contents: read")
        path = self._path(f"compare/{quote(base)}...{quote(head)}")
        # One commit a page: only the merge base is looked at.
        found = self._found(path, _Comparison, need, per_page=1)
        return None if found is None else str(found.merge_base_commit.sha)

    def directory(self, path: str, ref: str) -> dict[str, TreeEntry]:
        """Return what is in a directory, by name; nothing when it is not there."""
        need = Need(what=f"list {path}", permission="contents: read")
        where = self._path(f"contents/{quote(path)}")
        found = self._found(where, list[TreeEntry], need, ref=ref)
        return {entry.name: entry for entry in found or ()}

    def file(self, path: str, ref: str, *, limit: int = _MAX_CONTENT) -> bytes | None:
        """Return a file as it is at a commit, or nothing when it is not there.

        Raises:
            DeliveryError: also when it has more than ``limit`` bytes.
        """
        parent, _, name = path.rpartition("/")
        entry = self.directory(parent, ref).get(name)
        if entry is None:
            return None
        if entry.type != "file":
            what = f"{path} is no file in the repository but a {entry.type}"
            raise DeliveryError(what)
        if entry.size > limit:
            what = f"{path} has {entry.size} bytes, more than the {limit} that are read"
            raise DeliveryError(what)
        # The contents of more than 1 MB come only as a blob.
        need = Need(what=f"read {path}", permission="contents: read")
        blob = self.rest.get(self._path(f"git/blobs/{entry.sha}"), _Blob, need)
        try:
            return base64.b64decode("".join(blob.content.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            what = f"could not {need.what}: GitHub's answer is not base64"
            raise DeliveryError(what) from error

    def create_tree(self, base: str, files: Mapping[str, bytes | None]) -> str:
        """Make a tree of another with files put in, or taken away where there is no content.

        Objects of git are named by their content, so making one twice makes one.
        """
        need = Need(what="write files", permission=_CONTENTS)
        entries: list[dict[str, str | None]] = []
        for path, data in files.items():
            entry: dict[str, str | None] = {"path": path, "mode": "100644", "type": "blob"}
            text = None if data is None else _inline(data)
            if text is not None:
                entries.append({**entry, "content": text})
            else:
                sha = None if data is None else self._create_blob(data, need)
                entries.append({**entry, "sha": sha})
        body = {"base_tree": base, "tree": entries}
        return self.rest.change("POST", self._path("git/trees"), body, _Made, need).sha

    def create_commit(self, message: str, *, tree: str, parents: Sequence[str]) -> str:
        """Make a commit that no branch knows of yet.

        Author and committer are left to GitHub, which signs what an app commits.
        """
        need = Need(what="commit", permission=_CONTENTS)
        body = {"message": message, "tree": tree, "parents": list(parents)}
        return self.rest.change("POST", self._path("git/commits"), body, _Made, need).sha

    def create_branch(self, branch: str, sha: str) -> bool:
        """Make a branch; whether it is now there at that commit."""
        need = Need(what=f"create the branch {branch}", permission=_CONTENTS)

        def find() -> Ref | None:
            head = self.branch_head(branch)
            return None if head is None else _ref(branch, head)

        try:
            body = {"ref": f"refs/heads/{branch}", "sha": sha}
            made = self.rest.create(self._path("git/refs"), body, Ref, need, find=find)
        except RefusedError as refusal:
            if refusal.status == 422 and "already exists" in refusal.said:
                return self.branch_head(branch) == sha
            raise
        return made.object.sha == sha

    def advance_branch(self, branch: str, sha: str) -> bool:
        """Move a branch forward, never back; whether it is now at that commit.

        It is not when somebody else has moved it, or deleted it, since it was read.
        """
        need = Need(what=f"update the branch {branch}", permission=_CONTENTS)
        try:
            path = self._path(f"git/refs/heads/{quote(branch)}")
            made = self.rest.change("PATCH", path, {"sha": sha, "force": False}, Ref, need)
        except RefusedError as refusal:
            if refusal.status in {404, 409, 422}:
                return self.branch_head(branch) == sha
            raise
        return made.object.sha == sha

    def delete_branch(self, branch: str, sha: str) -> bool:
        """Delete a branch that is at a commit; whether it is gone.

        One that has moved on is left alone. GitHub has no deletion under that condition, so a move
        in the moment between looking and deleting is not seen; the commits can be restored there.
        """
        head = self.branch_head(branch)
        if head != sha:
            return head is None
        need = Need(what=f"delete the branch {branch}", permission=_CONTENTS)
        try:
            self.rest.remove(self._path(f"git/refs/heads/{quote(branch)}"), need)
        except RefusedError as refusal:
            # Also the answer to a second attempt, when that to the first was lost.
            if refusal.status == 422 and "does not exist" in refusal.said:
                return True
            raise
        return True

    def _create_blob(self, data: bytes, need: Need) -> str:
        body = {"content": base64.b64encode(data).decode(), "encoding": "base64"}
        return self.rest.change("POST", self._path("git/blobs"), body, _Made, need).sha

    def _path(self, rest: str) -> str:
        return f"/repos/{self.repository}/{rest}"

    def _found(self, path: str, kind: type[Any], need: Need, **query: str | int) -> Any:  # noqa: ANN401 - kind, or nothing
        try:
            return self.rest.get(path, kind, need, **query)
        except RefusedError as refusal:
            if refusal.status == 404:
                return None
            raise


def _ref(branch: str, sha: str) -> Ref:
    return msgspec.convert({"ref": f"refs/heads/{branch}", "object": {"sha": sha}}, type=Ref)


def _inline(data: bytes) -> str | None:
    """Return the content as a tree can hold it, or nothing when it needs a blob of its own."""
    if len(data) > _MAX_INLINE or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
