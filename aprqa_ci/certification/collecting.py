"""Which of the directories that a run of GitHub left behind are to be merged."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.shards import MANIFEST_NAME, ShardManifest
from aprqa_ci.wire import read_wire

__all__ = ["Collected", "artifact_name", "collect_shards"]

_MOST_DIRECTORIES = 16_384
"""More than any run can leave: GitHub ends a run after 50 attempts, and keeps 10 000 jobs of it."""

_ARTIFACT = re.compile(r"evidence-.+-a[0-9]+")
_ATTEMPT = re.compile(r"-a([0-9]{1,9})\Z")


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The directories to merge, and what is to be said of the others."""

    directories: tuple[Path, ...]
    """One for each attempt of a shard, by shard and attempt."""
    other_plan: tuple[str, ...]
    """Attempts at a plan that was made anew since, as ``s001 a1``; they are left out."""
    without_manifest: tuple[str, ...]
    """Directories whose shard died before it could say what it had done."""
    made_up_for: tuple[str, ...]
    """The same, when a later attempt at the shard came to its end."""


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    directory: Path
    manifest: ShardManifest

    @property
    def name(self) -> str:
        return f"{self.manifest.shard} a{self.manifest.attempt}"


def artifact_name(shard: str, attempt: int) -> str:
    """Return what the evidence of a shard's attempt is called among the artifacts of a run."""
    return f"evidence-{shard}-a{attempt}"


def collect_shards(root: Path, *, plan_digest: str) -> Collected:
    """Find the shard directories below ``root``.

    When all jobs are run again with a tool that has been updated meanwhile, the plan can be another
    one, and what earlier attempts left is of the plan before. Such attempts are left out. Evidence
    of another plan that is not older than all of this one is no such leftover, and is for the merge
    to refuse.

    Args:
        root: holds a directory for each artifact; when it is missing, there is no evidence.
        plan_digest: of the whole plan, shards included.

    Raises:
        InputError: a manifest is unreadable, does not fit the artifact's name, or is there twice;
            something else than directories lies there.
    """
    problems: list[Problem] = []
    without_manifest = []
    attempts: dict[tuple[str, int], _Attempt] = {}
    for directory in _directories(root, problems):
        if not (directory / MANIFEST_NAME).exists():
            without_manifest.append(directory.name)
            continue
        try:
            attempt = _read(directory)
        except InputError as error:
            problems += error.problems
            continue
        other = attempts.setdefault((attempt.manifest.shard, attempt.manifest.attempt), attempt)
        if other is not attempt:
            what = f"shard {attempt.name} is there twice, also in {other.directory}"
            problems.append(Problem(what=what, path=directory))
    if problems:
        raise InputError(problems)
    found = [attempts[key] for key in sorted(attempts)]
    first = min(
        (each.manifest.attempt for each in found if each.manifest.plan_digest == plan_digest),
        default=0,
    )
    leftover = [
        each
        for each in found
        if each.manifest.plan_digest != plan_digest and each.manifest.attempt < first
    ]
    complete = {
        each.manifest.shard: each.manifest.attempt  # the newest: they are in order
        for each in found
        if each not in leftover and each.manifest.exit == 0
    }
    made_up_for = [name for name in without_manifest if _is_made_up_for(name, complete)]
    return Collected(
        directories=tuple(each.directory for each in found if each not in leftover),
        other_plan=tuple(each.name for each in leftover),
        without_manifest=tuple(name for name in without_manifest if name not in made_up_for),
        made_up_for=tuple(made_up_for),
    )


def _is_made_up_for(name: str, complete: Mapping[str, int]) -> bool:
    """Return whether a shard came to its end after the attempt whose directory is so named."""
    told = _ATTEMPT.search(name)
    if told is None:
        return False
    attempt = int(told[1])
    return any(
        attempt < newest and name.endswith(artifact_name(shard, attempt))
        for shard, newest in complete.items()
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
