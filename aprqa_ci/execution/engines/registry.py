"""Which engines there are, and which of them runs a cell."""

import importlib
from collections.abc import Mapping
from typing import Final

from aprqa_ci.execution.engines.interface import Engine, EngineAbsentError
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import near_name

__all__ = ["engine_for", "engines"]

_BUILT_IN: Final = {
    "reference": ("aprqa_ci.execution.engines.reference", "ReferenceEngine"),
    "llamacpp": ("aprqa_ci.execution.engines.llamacpp", "LlamaCppEngine"),
}
"""Name to module and class; a module is imported only when its engine is asked for."""

_PREFERRED: Final[Mapping[ModelFormat, tuple[str, ...]]] = {
    # The reference engine is the ground truth that the other is compared with, and slower.
    ModelFormat.GGUF: ("llamacpp", "reference"),
    ModelFormat.SAFETENSORS: ("reference",),
    ModelFormat.APR: (),
}
_WITHOUT_ENGINE: Final[Mapping[ModelFormat, str]] = {
    ModelFormat.APR: "it needs the apr command-line tool, which no engine here drives yet"
}


def engines() -> dict[str, Engine]:
    """Return every engine by name; none of them is opened, and none need be available."""
    return {
        name: getattr(importlib.import_module(module), kind)()
        for name, (module, kind) in _BUILT_IN.items()
    }


def engine_for(
    format: ModelFormat,  # noqa: A002 - the name that cells and model files have for it
    backend: Backend,
    *,
    asked: str | None,
    candidates: Mapping[str, Engine] | None = None,
) -> Engine:
    """Choose the engine of a cell: the one asked for, or the first that can run it.

    Args:
        format: of the model's weights.
        backend: where it is to compute.
        asked: the name of an engine, or nothing.
        candidates: the engines to choose from; those of :func:`engines` unless given.

    Raises:
        EngineAbsentError: no engine, or not the one asked for, can run this format on this backend
            on this machine; the message says what is missing and how to get it.
    """
    known = engines() if candidates is None else candidates
    if asked is not None:
        if asked not in known:
            hint = near_name(asked, sorted(known)) or f"known are {', '.join(sorted(known))}"
            what = f"there is no engine {asked!r}: {hint}"
            raise EngineAbsentError(what)
        names: tuple[str, ...] = (asked,)
    else:
        names = tuple(name for name in _PREFERRED[format] if name in known)
    lacks: list[str] = []
    for name in names:
        lack = _lack(known[name], format, backend)
        if not lack:
            return known[name]
        lacks.append(f"{name} {lack}")
    missing = "; ".join(lacks) or _WITHOUT_ENGINE.get(format, "none is installed")
    what = f"no engine can run {format} on {backend} here: {missing}"
    raise EngineAbsentError(what)


def _lack(engine: Engine, format: ModelFormat, backend: Backend) -> str:  # noqa: A002 - as above
    """Return what the engine lacks for the task, or nothing."""
    info = engine.info()
    if format not in info.formats:
        return f"does not read {format}"
    if not info.available:
        return f"is not available: {info.reason} ({info.how_to_get})"
    if backend not in info.backends:
        return f"has no {backend} here ({info.how_to_get})"
    return ""
