"""The Hugging Face cache: where it is, and which snapshot a revision means.

The layout is the documented one of ``huggingface_hub``::

    <hub>/models--<org>--<name>/refs/<revision>        the commit that a branch or tag stands for
    <hub>/models--<org>--<name>/snapshots/<commit>/    the files of that commit, links into blobs/
    <hub>/models--<org>--<name>/blobs/<digest>         the bytes

Nothing is fetched here, and nothing is written but what a revision stands for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Template

from aprqa_ci.errors import InputError
from aprqa_ci.files import read_bounded, write_atomic

__all__ = [
    "Snapshot",
    "SnapshotAbsentError",
    "find_snapshot",
    "hub_directory",
    "is_repo_id",
    "record_revision",
    "repo_folder",
]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPO_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPO_ID = re.compile(rf"{_REPO_PART}/{_REPO_PART}")
_REF_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@-]*")
_MAX_REF_BYTES = 4096


class SnapshotAbsentError(Exception):
    """The cache holds no snapshot of that repository at that revision; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One commit of one repository in the cache."""

    directory: Path
    commit: str
    """40 hexadecimal digits."""


def is_repo_id(name: str) -> bool:
    """Return whether ``name`` is a repository id ``org/name`` in the hub's own spelling.

    The hub refuses ``--`` and ``..`` in ids, because the cache's folder names are made of them.
    """
    return _REPO_ID.fullmatch(name) is not None and "--" not in name and ".." not in name


def hub_directory(environment: Mapping[str, str], home: Path) -> Path:
    """Return the one cache directory that ``huggingface_hub`` would use here.

    The precedence is the documented one: ``HF_HUB_CACHE``, the older ``HUGGINGFACE_HUB_CACHE``,
    ``HF_HOME/hub``, ``XDG_CACHE_HOME/huggingface/hub``, ``~/.cache/huggingface/hub``. An empty
    value counts as unset; ``~`` and ``$NAME`` inside a value are expanded.
    """
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := environment.get(variable):
            return _expanded(value, environment, home)
    if value := environment.get("HF_HOME"):
        return _expanded(value, environment, home) / "hub"
    if value := environment.get("XDG_CACHE_HOME"):
        return _expanded(value, environment, home) / "huggingface" / "hub"
    return home / ".cache" / "huggingface" / "hub"


def find_snapshot(hub: Path, repo: str, revision: str | None) -> Snapshot:
    """Return the snapshot of ``repo`` that ``revision`` means; without one, that of ``main``.

    Args:
        hub: the cache directory.
        repo: a repository id for which :func:`is_repo_id` holds.
        revision: a commit of 40 digits, a branch, a tag, or a ref such as ``refs/pr/1``.

    Raises:
        SnapshotAbsentError: the cache does not hold it. Another snapshot is never taken instead.
    """
    folder = repo_folder(hub, repo)
    if not folder.is_dir():
        msg = f"{folder}: there is no such folder"
        raise SnapshotAbsentError(msg)
    wanted = revision or "main"
    commit = wanted if _COMMIT.fullmatch(wanted) else _read_ref(folder, wanted)
    directory = folder / "snapshots" / commit
    if not directory.is_dir():
        msg = f"{directory}: the cache holds no snapshot of revision {wanted}"
        raise SnapshotAbsentError(msg)
    return Snapshot(directory=directory, commit=commit)


def repo_folder(hub: Path, repo: str) -> Path:
    """Return the folder of a repository for which :func:`is_repo_id` holds."""
    return hub / ("models--" + repo.replace("/", "--"))


def record_revision(hub: Path, repo: str, revision: str, commit: str) -> None:
    """Write down which commit a branch or tag stands for; of a commit there is nothing to write.

    Raises:
        SnapshotAbsentError: no revision has such a name.
        OSError: the cache cannot be written.
    """
    if not _COMMIT.fullmatch(revision):
        write_atomic(_ref_path(repo_folder(hub, repo), revision), commit.encode("ascii"))


def _ref_path(folder: Path, revision: str) -> Path:
    parts = PurePosixPath(revision).parts
    if not parts or not all(_REF_PART.fullmatch(part) for part in parts):
        msg = f"{revision!r} is not the name of a revision"
        raise SnapshotAbsentError(msg)
    return folder.joinpath("refs", *parts)


def _read_ref(folder: Path, revision: str) -> str:
    path = _ref_path(folder, revision)
    if not path.is_file():
        msg = f"{path}: the cache does not know the revision {revision}"
        raise SnapshotAbsentError(msg)
    try:
        text = read_bounded(path, _MAX_REF_BYTES).decode("ascii", errors="replace").strip()
    except InputError as error:
        raise SnapshotAbsentError(str(error)) from error
    if not _COMMIT.fullmatch(text):
        msg = f"{path}: the file does not hold a commit"
        raise SnapshotAbsentError(msg)
    return text


def _expanded(value: str, environment: Mapping[str, str], home: Path) -> Path:
    text = Template(value).safe_substitute(environment)
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return Path(text)
