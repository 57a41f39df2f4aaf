"""What is asked of a hub of models, whatever library asks it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

__all__ = ["Hub", "HubError", "HubFile", "Listing"]


class HubError(Exception):
    """The hub, or the way to it, did not give what was asked for; the message says what to do.

    Says nothing of the model itself.
    """

    def __init__(
        self, what: str, *, fault: Literal["input", "infrastructure"], unseen: bool = False
    ) -> None:
        super().__init__(what)
        self.fault = fault
        """``input``: the playbook names what there is not. ``infrastructure``: anything else."""
        self.unseen = unseen
        """Whether the hub said that there is no such repository for us: none, or a private one."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a repository, as the hub lists it."""

    path: str
    size: int
    digest: str
    """The SHA-256 of a large file, the git object id of a small one; both hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The files of a repository at one commit."""

    repo: str
    """As it was asked for."""
    name: str
    """What the hub calls it, which differs after it was renamed."""
    commit: str
    files: tuple[HubFile, ...]


class Hub(Protocol):
    """A place that has models."""

    def listing(self, repo: str, revision: str) -> Listing:
        """Return the files of a repository at what the revision is now.

        Raises:
            HubError: there is none, it may not be seen, or the hub does not answer.
        """
        ...

    def download(self, listing: Listing, file: HubFile) -> Path:
        """Put a file into the cache, if it is not there, and return where it is.

        The bytes are not yet to be trusted.

        Args:
            listing: the repository and commit.
            file: the file.

        Raises:
            HubError: it could not be had.
            OSError: it could not be written.
        """
        ...
