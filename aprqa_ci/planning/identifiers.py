"""Identifiers of cells and scenarios, and the globs that select them.

``qwen2.5-coder-0.5b-mvp:chat-cpu-gguf-q8_0`` names a cell, for as long as its playbook keeps its
name; ``…#007`` names a prompt of it and ``…#F-PERF-TPS-001`` a check.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from aprqa_ci.wire import near_name

__all__ = [
    "as_sources",
    "cell_id",
    "cell_of",
    "derived_name",
    "prompt_id",
    "select",
    "sources_in",
    "variant_name",
]

_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_EXPANSIONS = 256
_SOURCE = "from/"


def variant_name(format_: ModelFormat, quantization: str | None) -> str:
    """Return ``safetensors`` or ``gguf-q8_0``: a format with its quantization."""
    return f"{format_}-{quantization}" if quantization else str(format_)


def derived_name(made: str, source: str) -> str:
    """Return what the files of a variant are called that was made of another one."""
    return f"derived {made} of {source}"


def as_sources(digests: Mapping[str, str]) -> dict[str, str]:
    """Return the digests of a source's files as they stand beside those of what was made of it."""
    return {f"{_SOURCE}{name}": digest for name, digest in digests.items()}


def sources_in(digests: Mapping[str, str]) -> dict[str, str]:
    """Return the source's part of what :func:`as_sources` put beside other digests."""
    return {
        name.removeprefix(_SOURCE): digest
        for name, digest in digests.items()
        if name.startswith(_SOURCE)
    }


def cell_id(
    playbook: str,
    modality: Modality,
    backend: Backend,
    format_: ModelFormat,
    quantization: str | None,
) -> str:
    """Return the identifier of a cell."""
    return f"{playbook}:{modality}-{backend}-{variant_name(format_, quantization)}"


def prompt_id(cell: str, number: int) -> str:
    """Return the identifier of the cell's prompt with that number, counted from 1."""
    return f"{cell}#{number:03d}"


def cell_of(scenario_id: str) -> str:
    """Return the cell's identifier in a scenario's."""
    return scenario_id.partition("#")[0]


def select(identifiers: Iterable[str], patterns: Sequence[str]) -> tuple[str, ...]:
    """Return the identifiers that match at least one glob, in their order.

    ``*``, ``?`` and ``[…]`` work as in a shell, and so do braces: ``*:{run,chat}-*``. A pattern
    without a colon is matched against the part after it as well, so ``chat-*`` is enough.

    Raises:
        InputError: a pattern matches nothing; that is a mistake, never an empty success.
    """
    known = list(identifiers)
    chosen: set[str] = set()
    problems = []
    for pattern in patterns:
        globs = _expand(pattern)
        found = {name for name in known if any(_matches(name, glob) for glob in globs)}
        if not found:
            hint = near_name(pattern, known) or "list the ids with `aprqa plan PLAYBOOK --print`"
            problems.append(Problem(what=f"{pattern!r} matches no cell", hint=hint))
        chosen |= found
    if problems:
        raise InputError(problems)
    return tuple(name for name in known if name in chosen)


def _matches(name: str, glob: str) -> bool:
    if fnmatchcase(name, glob):
        return True
    return ":" not in glob and fnmatchcase(name.partition(":")[2], glob)


def _expand(pattern: str) -> list[str]:
    pending, done = [pattern], []
    while pending:
        current = pending.pop()
        found = _BRACES.search(current)
        if found is None:
            done.append(current)
            continue
        head, tail = current[: found.start()], current[found.end() :]
        pending.extend(head + choice + tail for choice in found[1].split(","))
        if len(pending) + len(done) > _MAX_EXPANSIONS:
            what = f"{pattern!r} expands to more than {_MAX_EXPANSIONS} globs"
            raise InputError(what)
    return done
