"""Digests, atomic writes and safe paths: the only file primitives the rooms share."""

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aprqa_ci.errors import AprqaError, InconclusiveError, InputError, Problem

__all__ = [
    "atomic_stream",
    "open_input",
    "path_below",
    "read_bounded",
    "sha256_bytes",
    "sha256_file",
    "slug",
    "unwritable",
    "write_atomic",
    "write_pieces",
]

_CHUNK = 1 << 20
_MACHINE_FAILED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file's bytes as 64 hexadecimal digits.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomic(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` in one step: a reader sees the old file or the new one.

    The parent directory is made if it is missing; the file keeps its permissions.

    Raises:
        OSError: the directory cannot be written. The old file is then untouched.
    """
    write_pieces(path, (data,))


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Do the same with bytes that come one piece after the other.

    Raises:
        OSError: the directory cannot be written. The old file is then untouched.
    """
    try:
        with atomic_stream(path) as stream:
            for piece in pieces:
                stream.write(piece)
    except OSError as error:
        # The system names the temporary file, or none.
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_stream(path: Path) -> Iterator[BinaryIO]:
    """Give a stream whose content is put at ``path`` in one step when the block ends well.

    As ``write_atomic``, for what is too large to be held in memory.

    Raises:
        OSError: the directory cannot be written. The old file is then untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        # What failed is told, not that on a disk gone read-only nothing can be removed either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def unwritable(path: Path, error: OSError, *, what: str = "cannot write the file") -> AprqaError:
    """Return what to raise when a file cannot be written, by whose fault it is. Pure.

    A disk that is full, failing or read-only is the machine's fault, and there is no verdict; a
    path that cannot be written for another reason is wrong input.

    Args:
        path: of the file.
        error: why.
        what: how the message begins.
    """
    problem = Problem(what=f"{what}: {error.strerror or error}", path=path)
    if error.errno in _MACHINE_FAILED:
        return InconclusiveError(str(problem))
    return InputError(problem)


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a file of at most ``limit`` bytes.

    Raises:
        InputError: the file is missing, unreadable, no regular file, or larger than ``limit``.
    """
    with open_input(path) as stream:
        try:
            data = stream.read(limit + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(data) > limit:
        raise InputError(
            Problem(
                what=f"the file is larger than {limit} bytes, the most that is read here",
                path=path,
            )
        )
    return data


def open_input(path: Path) -> BinaryIO:
    """Open a regular file for reading; nothing else is waited for.

    Raises:
        InputError: the file is missing, unreadable, or no regular file.
    """
    try:
        # Opening a pipe waits for its writer, for ever if there is none, unless it is told not to.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = f"not a regular file but {_kind(mode)}"
        hint = "name a file in it" if stat.S_ISDIR(mode) else "write it to a file first"
        raise InputError(Problem(what=what, path=path, hint=hint))
    return open(descriptor, "rb")  # noqa: PTH123 - of a descriptor


def _unreadable(path: Path, error: OSError | ValueError) -> InputError:
    # A ValueError is a name with a NUL or a lone surrogate in it.
    why = (error.strerror if isinstance(error, OSError) else None) or error
    return InputError(Problem(what=f"cannot read the file: {why}", path=path))


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((word for is_one, word in kinds if is_one(mode)), "something else")


def path_below(root: Path, name: str) -> Path:
    """Return ``root / name`` if it stays below ``root``, symbolic links followed.

    Raises:
        InputError: the name leads out of ``root``, or there can be no such file.
    """
    base = root.resolve()
    try:
        path = (base / name).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        # A NUL or a lone surrogate, a name that is too long, a circle of links.
        what = f"{name!r} is no name of a file"
        raise InputError(Problem(what=what, path=root)) from error
    if path == base or not path.is_relative_to(base):
        raise InputError(Problem(what=f"{name!r} leads out of {root}", path=root))
    return path


def slug(name: str) -> str:
    """Return ``name`` in lower case with only ``a-z 0-9 . _ -``, fit for a file name."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "unnamed"
