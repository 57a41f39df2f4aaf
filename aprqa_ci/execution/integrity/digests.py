"""The SHA-256 of every file of a model, compared with the digest that a cache names it by."""

import hashlib
import re
from pathlib import Path

from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation, counted, listed
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.weight_files import COMPANION_NAMES, INDEX_NAME

__all__ = ["content_digests", "digest_files", "model_paths"]

_CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


def model_paths(model: ModelFiles) -> dict[str, Path]:
    """Return every file of the model that decides its answers, by a name relative to it."""
    companions = (model.directory / name for name in (INDEX_NAME, *COMPANION_NAMES))
    paths = [*model.weights, *(path for path in companions if path.is_file())]
    return {_name(path, model.directory): path for path in paths}


def digest_files(model: ModelFiles) -> tuple[Observation, dict[str, str]]:
    """Read every file whole.

    The hub's cache names a large file by its SHA-256 and a small one by its git object id; either
    must then be that of the bytes read.

    Returns:
        What was seen, and the SHA-256 of each file by its name.

    Raises:
        NotJudgedError: a file cannot be read, which is the machine's trouble.
    """
    digests: dict[str, str] = {}
    problems: list[str] = []
    compared: list[str] = []
    for name, path in model_paths(model).items():
        try:
            if path.stat().st_size == 0:
                problems.append(str(FormatError(path, "the file is empty")))
                continue
            sha256, git_id = content_digests(path)
        except OSError as error:
            msg = f"{name} cannot be read: {error.strerror or error}"
            raise NotJudgedError(msg) from error
        digests[name] = sha256
        expected = _blob_name(path)
        if expected is None:
            continue
        compared.append(name)
        actual = sha256 if _SHA256.fullmatch(expected) else git_id
        if actual != expected:
            problems.append(f"{name} has the digest {actual}, and the cache names it {expected}")
    known = f"equal to the cache's digest: {listed(compared)}" if compared else "none to compare"
    shown = f"{counted(len(digests), 'file')} read whole; {known}"
    details = "\n".join(f"{digest}  {name}" for name, digest in digests.items())
    return Observation(problems=tuple(problems), shown=shown, details=details), digests


def content_digests(path: Path) -> tuple[str, str]:
    """Return the SHA-256 and the git object id of a file, read once.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    # Git's name for the bytes, not a protection.
    git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            sha256.update(chunk)
            git.update(chunk)
    return sha256.hexdigest(), git.hexdigest()


def _blob_name(path: Path) -> str | None:
    target = path.resolve()
    if target.parent.name != "blobs" or target == path:
        return None
    name = target.name
    return name if _SHA256.fullmatch(name) or _SHA1.fullmatch(name) else None


def _name(path: Path, directory: Path) -> str:
    return str(path.relative_to(directory)) if path.is_relative_to(directory) else path.name
