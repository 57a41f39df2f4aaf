"""Trees of files that are looked at in one way, wherever they lie."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from aprqa_ci.files import read_bounded

__all__ = ["Disk", "FileTree"]


class FileTree(Protocol):
    """A tree of files, on this machine or elsewhere."""

    def is_file(self, path: Path) -> bool:
        """Say whether there is such a file."""
        ...

    def is_directory(self, path: Path) -> bool:
        """Say whether there is such a directory."""
        ...

    def entries(self, directory: Path) -> Iterable[Path]:
        """Return what lies in a directory that there is, in any order."""
        ...

    def read(self, path: Path, limit: int) -> bytes:
        """Read a file of at most ``limit`` bytes.

        Raises:
            InputError: it cannot be read, or is larger.
        """
        ...


class Disk:
    """The files of this machine."""

    def is_file(self, path: Path) -> bool:
        """See the protocol."""
        return path.is_file()

    def is_directory(self, path: Path) -> bool:
        """See the protocol."""
        return path.is_dir()

    def entries(self, directory: Path) -> Iterable[Path]:
        """See the protocol."""
        return directory.iterdir()

    def read(self, path: Path, limit: int) -> bytes:
        """See the protocol."""
        return read_bounded(path, limit)
