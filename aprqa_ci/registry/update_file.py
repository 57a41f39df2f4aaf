"""Updating the registry on disk: under a lock, in one step, or not at all."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded, unwritable, write_atomic
from aprqa_ci.registry.lock import Process, file_lock
from aprqa_ci.registry.models_csv import (
    EMPTY_REGISTRY,
    MAX_REGISTRY_BYTES,
    CellChange,
    Registry,
    apply,
    apply_provenance,
    read_registry,
)
from aprqa_ci.registry.readme_table import has_markers, update_readme
from aprqa_ci.registry.row_update import RowUpdate

__all__ = ["RegistryChange", "read_registry_file", "update_file", "write_provenance"]


@dataclass(frozen=True, kw_only=True)
class RegistryChange:
    """What an update did to the file."""

    path: Path
    cells: tuple[CellChange, ...]
    """What changed; nothing when the file said it already and was not written."""
    registry: Registry
    """The registry as it is now."""
    declined: str = ""
    """Why nothing was changed although something would have been; else empty."""


def read_registry_file(path: Path) -> Registry:
    """Read a ``models.csv``.

    Raises:
        InputError: the file cannot be read, or is not a registry.
    """
    return read_registry(read_bounded(path, MAX_REGISTRY_BYTES), source=path)


def update_file(
    path: Path,
    update: RowUpdate,
    *,
    create: bool = False,
    readme: Path | None = None,
    why_not: Callable[[Registry], str | None] = lambda _: None,
    process: Process | None = None,
) -> RegistryChange:
    """Bring one model's row in a file up to date.

    The file is read under its lock, so that no other update is lost, and replaced in one step. A
    symbolic link stays one: the file it points at is locked and replaced.

    Args:
        path: the ``models.csv``.
        update: what was measured.
        create: make the file if it is not there.
        readme: whose table is made of the registry, under the same lock: of two updates at once,
            the table must be that of the second. A README without the markers is left alone.
        why_not: says of the registry, as it is under the lock, why it is to stay as it is. It is
            asked only when something would change.
        process: who takes the lock; this process by default.

    Raises:
        InputError: the file is missing, locked, unreadable, cannot be written or is not a
            registry, or the update is not fit for it; the file is then as it was. Or the README's
            table cannot be replaced.
        InconclusiveError: the disk is full, failing or read-only. The file is then as it was.
    """
    update.check()
    return _changed(
        path,
        lambda registry: apply(registry, update),
        create=create,
        readme=readme,
        why_not=why_not,
        process=process,
    )


def write_provenance(
    path: Path, verified: Collection[str], *, process: Process | None = None
) -> RegistryChange:
    """Have ``provenance_verified`` true in the rows of these models, and in no other.

    A cell that is not true is left as it is spelled.

    Args:
        path: the ``models.csv``.
        verified: the models whose provenance was verified.
        process: who takes the lock; this process by default.

    Raises:
        InputError: as ``update_file`` does.
    """
    return _changed(
        path, lambda registry: apply_provenance(registry, verified), create=False, process=process
    )


def _changed(
    path: Path,
    change: Callable[[Registry], tuple[bytes, tuple[CellChange, ...]]],
    *,
    create: bool,
    readme: Path | None = None,
    why_not: Callable[[Registry], str | None] = lambda _: None,
    process: Process | None,
) -> RegistryChange:
    target = _target(path)
    if not target.parent.is_dir():
        if not create:
            raise _missing(path)
        target.parent.mkdir(parents=True)
    with file_lock(target, process or Process()):
        if create and not target.exists():
            old = EMPTY_REGISTRY
        elif target.exists():
            old = read_bounded(target, MAX_REGISTRY_BYTES)
        else:
            raise _missing(path)
        standing = read_registry(old, source=path)
        new, cells = change(standing)
        if cells and (declined := why_not(standing)):
            return RegistryChange(path=path, cells=(), registry=standing, declined=declined)
        if cells:
            _write(target, new)
        registry = read_registry(new, source=path)
        if readme is not None and has_markers(readme):
            update_readme(readme, registry)
    return RegistryChange(path=path, cells=cells, registry=registry)


def _target(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
        raise InputError(Problem(what=f"cannot follow the path: {error}", path=path)) from error


def _write(target: Path, data: bytes) -> None:
    try:
        write_atomic(target, data)
    except OSError as error:
        raise unwritable(target, error) from error


def _missing(path: Path) -> InputError:
    return InputError(
        Problem(what="there is no such registry", path=path, hint="name another, or create it")
    )
