"""Making files that are nowhere of a model's SafeTensors, in a child process with limits."""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType

from aprqa_ci.execution.child import CellChild, ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.derivable import Derivable, still_absent
from aprqa_ci.execution.engines.interface import OptionValue
from aprqa_ci.execution.host import available_memory_mb
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.protocol import Derive, Derived, OutOfMemory

__all__ = ["make_files"]

_MAX_STDERR = 2000


def make_files(
    found: Derivable,
    *,
    cache: Path,
    limits: Limits,
    spawn: Callable[[], CellChild],
    asking: Callable[[], AbstractContextManager[object]],
    apr: Mapping[str, OptionValue] = MappingProxyType({}),
) -> Derived:
    """Make the files, unless the cache has them.

    Args:
        found: what is to be made, and of what.
        cache: our own cache; made if it is missing.
        limits: how long it may take, and how much memory.
        spawn: starts a child process.
        asking: held while it computes.
        apr: what the converter of APR files is told.

    Raises:
        ModelNotFoundError: they could not be made, so they are still nowhere.
        MemoryError: too little memory is free.
        OSError: too little of the disk is free, or the cache cannot be written.
    """
    _require_room(found, cache, limits)
    doing = f"making {found.name} of {found.source.directory}"
    request = Derive(
        model=found.source,
        cache=cache,
        format=found.format,
        quantization=found.quantization,
        apr=dict(apr),
    )
    try:
        with asking(), spawn() as child:
            reply = child.request(
                request, timeout_s=limits.comparison_seconds(found.source.size_bytes)
            )
    except ChildTimeoutError as error:
        raise still_absent(found.absent, f"{doing}: {error}") from error
    except ChildDiedError as error:
        if error.out_of_memory:
            what = f"{doing}: {error}"
            raise MemoryError(what) from error
        why = f"{doing}: {error}\n{error.stderr[-_MAX_STDERR:]}"
        raise still_absent(found.absent, why) from error
    if isinstance(reply, OutOfMemory):
        what = f"{doing}: {reply.message}"
        raise MemoryError(what)  # noqa: TRY004 - the reply says so
    if not isinstance(reply, Derived):
        message = getattr(reply, "message", f"unexpected reply {type(reply).__name__}")
        raise still_absent(found.absent, f"{doing}: {message}")
    return reply


def _require_room(found: Derivable, cache: Path, limits: Limits) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    if not os.access(cache, os.W_OK | os.X_OK):
        what = f"{cache} cannot be written, and what is made lies there; see APRQA_CACHE"
        raise OSError(what)
    if problem := found.lack_of_disk(cache, shutil.disk_usage(cache).free):
        raise OSError(problem)
    if problem := found.lack_of_memory(limits, available_memory_mb()):
        raise MemoryError(problem)
