"""Which of the shards' directories count: of each shard its newest complete attempt."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.merging import MANIFEST_NAME, ShardManifest
from aprqa_ci.wire import read_wire

__all__ = ["Collected", "artifact_name", "collect_shards"]

_MOST_DIRECTORIES = 16_384
"""More than any run can leave: GitHub ends a run after 50 attempts, and keeps 10 000 jobs of it."""

_ARTIFACT = re.compile(r"evidence-.+-a[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The directories to merge, and what is to be said of the others."""

    directories: tuple[Path, ...]
    superseded: tuple[str, ...]
    """Attempts that were left out for a better one, as ``s001 a1``."""
    unfinished: tuple[str, ...]
    """Attempts that are merged and did not come to their end, with their exit code."""
    without_manifest: tuple[str, ...]
    """Directories whose shard died before it could say what it had done."""


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    directory: Path
    manifest: ShardManifest

    @property
    def rank(self) -> tuple[bool, int]:
        return self.manifest.exit == 0, self.manifest.attempt

    @property
    def name(self) -> str:
        return f"{self.manifest.shard} a{self.manifest.attempt}"


def artifact_name(shard: str, attempt: int) -> str:
    """Return what the evidence of a shard's attempt is called among the artifacts of a run."""
    return f"evidence-{shard}-a{attempt}"


def collect_shards(root: Path) -> Collected:
    """Choose among the shard directories below ``root``.

    An attempt is complete when every scenario of the shard has a record. The newest complete one
    counts; without any, the newest, whose records are evidence too. Whether they belong to the plan
    is for the merge to say.

    Args:
        root: holds a directory for each artifact; when it is missing, there is no evidence.

    Raises:
        InputError: a manifest is unreadable, does not fit the artifact's name, or is there twice;
            something else than directories lies there.
    """
    problems: list[Problem] = []
    without_manifest = []
    best: dict[str, _Attempt] = {}
    left_out = []
    for directory in _directories(root, problems):
        if not (directory / MANIFEST_NAME).exists():
            without_manifest.append(directory.name)
            continue
        try:
            attempt = _read(directory)
        except InputError as error:
            problems += error.problems
            continue
        shard = attempt.manifest.shard
        other = best.get(shard)
        if other is not None and other.manifest.attempt == attempt.manifest.attempt:
            what = f"shard {attempt.name} is there twice, also in {other.directory}"
            problems.append(Problem(what=what, path=directory))
        if other is None or attempt.rank > other.rank:
            best[shard] = attempt
        if other is not None:
            left_out.append(min(attempt, other, key=lambda each: each.rank))
    if problems:
        raise InputError(problems)
    chosen = [best[shard] for shard in sorted(best)]
    return Collected(
        directories=tuple(each.directory for each in chosen),
        superseded=tuple(sorted(each.name for each in left_out)),
        unfinished=tuple(
            f"{each.name} (exit {each.manifest.exit})" for each in chosen if each.manifest.exit
        ),
        without_manifest=tuple(without_manifest),
    )


def _directories(root: Path, problems: list[Problem]) -> Iterator[Path]:
    if not root.exists():
        return
    try:
        entries = sorted(islice(root.iterdir(), _MOST_DIRECTORIES + 1))
    except OSError as error:
        what = f"cannot be listed: {error.strerror or error}"
        raise InputError(Problem(what=what, path=root)) from error
    if len(entries) > _MOST_DIRECTORIES:
        raise InputError(Problem(what=f"more than {_MOST_DIRECTORIES} entries", path=root))
    for entry in entries:
        if entry.is_symlink() or not entry.is_dir():
            problems.append(Problem(what="not the directory of a shard", path=entry))
        else:
            yield entry


def _read(directory: Path) -> _Attempt:
    manifest = read_wire(directory / MANIFEST_NAME, ShardManifest)
    expected = artifact_name(manifest.shard, manifest.attempt)
    # Who may upload an artifact may choose its name; that both agree is not proof, but a lie less.
    if _ARTIFACT.search(directory.name) and not directory.name.endswith(expected):
        what = f"the artifact is named {directory.name} and says that it is {expected}"
        raise InputError(Problem(what=what, path=directory / MANIFEST_NAME))
    return _Attempt(directory=directory, manifest=manifest)
