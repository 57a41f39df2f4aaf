"""The lock: what each playbook was when somebody looked at it, so that no change goes unseen.

Entries go by path; names repeat, and the existing tool's lock, which goes by file name, is read as
well. A changed playbook is refused with what changed in it, field by field, and not merely with
two digests.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded
from aprqa_ci.playbook.load import PLAYBOOK_GLOB, LoadedPlaybook
from aprqa_ci.playbook.yaml_source import MAX_YAML_BYTES, read_yaml
from aprqa_ci.wire import WireModel, read_wire

__all__ = [
    "LEGACY_LOCK_PATH",
    "LOCK_PATH",
    "LOCK_SCHEMA",
    "LockedModel",
    "LockedPlaybook",
    "PlaybookLock",
    "Resolved",
    "changes_since",
    "lock_of",
    "read_lock",
    "require_locked",
]

LOCK_SCHEMA: Final = "aprqa-lock/1"
LOCK_PATH: Final = Path("playbooks/playbook.lock.json")
LEGACY_LOCK_PATH: Final = Path("playbooks/playbook.lock.yaml")
"""The lock of the existing tool."""

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]

_SUFFIX = PLAYBOOK_GLOB.removeprefix("*")
_MOST_CHANGES = 12
_LONGEST_VALUE = 80
_ABSENT = "absent"
_MAIN = "main"


class LockedModel(WireModel, frozen=True, kw_only=True):
    """The files that the playbook's model was resolved to."""

    commit: Annotated[str, Meta(pattern=r"^[0-9a-f]{40}$")]
    """The commit of its repository."""
    files: dict[str, Sha256]
    """SHA-256 by path in the repository."""


class LockedPlaybook(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """One playbook as it was locked."""

    sha256: Sha256
    """Of the file's bytes."""
    fields: dict[str, Any] | None = None
    """What it said and what it left to defaults, by dotted path; the existing tool's lock has
    digests alone."""
    models: dict[str, LockedModel] = msgspec.field(default_factory=dict)
    """What its model was resolved to, by repository, if it was."""


class PlaybookLock(WireModel, frozen=True, kw_only=True):
    """All locked playbooks."""

    schema: Literal["aprqa-lock/1"] = LOCK_SCHEMA
    playbooks: dict[str, LockedPlaybook]
    """By path, relative to the root of the repository."""


class _LegacyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sha256: Sha256
    locked_fields: tuple[str, ...] = ()


class _LegacyLock(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    entries: dict[str, _LegacyEntry]


@dataclass(frozen=True, kw_only=True)
class _ReadLock:
    path: Path
    by_path: Mapping[str, LockedPlaybook]
    by_stem: Mapping[str, LockedPlaybook]

    def entry(self, path: str) -> LockedPlaybook | None:
        stem = Path(path).name.removesuffix(_SUFFIX)
        return self.by_path.get(path) or self.by_stem.get(stem)


Resolved = Mapping[tuple[str, str], LockedModel]
"""What models were resolved to, by repository and the revision that was asked for."""


def lock_of(
    playbooks: Sequence[LoadedPlaybook],
    *,
    root: Path,
    models: Resolved | None = None,
    before: Mapping[str, LockedPlaybook] | None = None,
) -> PlaybookLock:
    """Return the lock of these playbooks. Pure.

    Args:
        playbooks: in any order; the lock is the same.
        root: what paths are relative to.
        models: what models were resolved to.
        before: the lock as it was, by path; what it says of a model stays where ``models`` says
            nothing of it.
    """
    entries = {}
    for loaded in playbooks:
        path = _relative(loaded.path, root)
        earlier = (before or {}).get(path)
        kept = earlier.models if earlier is not None else {}
        own = {repo: kept[repo] for repo, _ in _repositories(loaded) if repo in kept}
        entries[path] = LockedPlaybook(
            sha256=loaded.digest,
            fields=dict(_fields(loaded)),
            models=own | _models_of(loaded, models or {}),
        )
    return PlaybookLock(playbooks=dict(sorted(entries.items())))


def _repositories(loaded: LoadedPlaybook) -> tuple[tuple[str, str], ...]:
    """Return the repositories of the playbook's model, each with the revision that is asked for."""
    model = loaded.playbook.model
    # GGUF files are often in a repository of their own beside the model's; a revision is not of it.
    return (model.hf_repo, model.revision or _MAIN), (f"{model.hf_repo}-GGUF", _MAIN)


def _models_of(loaded: LoadedPlaybook, models: Resolved) -> dict[str, LockedModel]:
    return {each[0]: models[each] for each in _repositories(loaded) if each in models}


def read_lock(root: Path) -> _ReadLock:
    """Read the lock below ``root``: aprqa's own, else that of the existing tool.

    Raises:
        InputError: there is none, or it is damaged.
    """
    own, legacy = root / LOCK_PATH, root / LEGACY_LOCK_PATH
    if own.exists():
        return _ReadLock(path=own, by_path=read_wire(own, PlaybookLock).playbooks, by_stem={})
    if not legacy.exists():
        raise InputError(Problem(what="there is no lock", path=own, hint="make it: aprqa lock"))
    document = read_yaml(read_bounded(legacy, MAX_YAML_BYTES), source=legacy)
    try:
        lock = msgspec.convert(document.data, type=_LegacyLock)
    except msgspec.ValidationError as error:
        raise InputError(Problem(what=f"not a lock: {error}", path=legacy)) from error
    entries = {stem: LockedPlaybook(sha256=each.sha256) for stem, each in lock.entries.items()}
    return _ReadLock(path=legacy, by_path={}, by_stem=entries)


def require_locked(
    playbooks: Sequence[LoadedPlaybook],
    lock: _ReadLock,
    *,
    root: Path,
    models: Resolved | None = None,
) -> None:
    """Check that every playbook is what it was when it was locked.

    Args:
        playbooks: as they are now.
        lock: as it was read.
        root: what paths are relative to.
        models: what models are resolved to now; compared where the lock has them.

    Raises:
        InputError: with every playbook that is not locked or has changed, and what changed.
    """
    problems = []
    for loaded in playbooks:
        entry = lock.entry(_relative(loaded.path, root))
        if entry is None:
            what = f"the playbook is not in {lock.path.name}"
            hint = "look at it, then add it: aprqa lock"
        elif entry.sha256 != loaded.digest:
            what = f"the playbook has changed since it was locked: {_told(loaded, entry)}"
            hint = "if that is meant: aprqa lock"
        elif others := list(_other_models(entry, _models_of(loaded, models or {}))):
            what = f"the model is another than when it was locked: {'; '.join(others)}"
            hint = "pin model.revision, or if that is meant: aprqa lock --models"
        else:
            continue
        problems.append(Problem(what=what, path=loaded.path, hint=hint))
    if problems:
        raise InputError(problems)


def changes_since(loaded: LoadedPlaybook, entry: LockedPlaybook) -> list[str]:
    """Return what the playbook says otherwise than when it was locked, a sentence a field."""
    before, now = entry.fields or {}, dict(_fields(loaded))
    return [
        f"{path}: {_shown(before, path)} -> {_shown(now, path)}"
        for path in sorted(before.keys() | now.keys())
        if before.get(path, _ABSENT) != now.get(path, _ABSENT)
    ]


def _other_models(entry: LockedPlaybook, models: Mapping[str, LockedModel]) -> Iterator[str]:
    for repo, before in entry.models.items():
        now = models.get(repo)
        if now is None:
            continue
        if now.commit != before.commit:
            yield f"{repo} was at {before.commit[:12]} and is at {now.commit[:12]}"
        for path in sorted(before.files.keys() & now.files.keys()):
            if now.files[path] != before.files[path]:
                yield f"{repo}: {path} is another file"


def _told(loaded: LoadedPlaybook, entry: LockedPlaybook) -> str:
    if entry.fields is None:
        return f"sha256 {entry.sha256[:12]} -> {loaded.digest[:12]}"
    changes = changes_since(loaded, entry)
    if not changes:
        return "only in comments, order or spelling"
    more = len(changes) - _MOST_CHANGES
    return "; ".join(changes[:_MOST_CHANGES] + ([f"and {more} more"] if more > 0 else []))


def _shown(fields: Mapping[str, Any], path: str) -> str:
    if path not in fields:
        return _ABSENT
    text = msgspec.json.encode(fields[path]).decode()
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _fields(loaded: LoadedPlaybook) -> Iterator[tuple[str, Any]]:
    # By way of JSON, so that what was read from a lock and what is made for one compare.
    yield from _leaves(msgspec.json.decode(msgspec.json.encode(loaded.playbook)), ())


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - YAML holds anything
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, str(key)))
    elif value is not None:
        yield ".".join(path), value


def _relative(path: Path, root: Path) -> str:
    absolute = path.absolute()
    return (
        absolute.relative_to(root.absolute()).as_posix()
        if absolute.is_relative_to(root.absolute())
        else absolute.as_posix()
    )
