"""The list of checksums beside the bundled model."""

from pathlib import Path

from aprqa_ci.files import sha256_file, write_atomic

__all__ = ["write_checksums"]

_LIST = "SHA256SUMS"


def write_checksums(directory: Path) -> None:
    """Write the SHA-256 of every file of a directory, as ``sha256sum --check`` reads it.

    Raises:
        OSError: a file cannot be read, or the list cannot be written.
    """
    paths = sorted(path for path in directory.iterdir() if path.name != _LIST)
    lines = (f"{sha256_file(path)}  {path.name}\n" for path in paths)
    write_atomic(directory / _LIST, "".join(lines).encode())
