"""Which engines there are, and which of them runs a cell.

The package's own engines stand in ``data/engines.yaml``, those of other packages are entry points
of the group ``aprqa.engines``. Each is imported only when it is asked for. What is wrong with an
engine of another package is a lack of that engine, said by name, and never an end of ours.
"""

import importlib
import importlib.metadata
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final, Literal, NoReturn, Protocol

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.interface import (
    ConfigurableEngine,
    Engine,
    EngineAbsentError,
    EngineInfo,
    OptionValue,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import WireModel, near_name

__all__ = [
    "ENTRY_POINT_GROUP",
    "EngineCatalogue",
    "EnginePlugin",
    "configured",
    "describe",
    "engine_catalogue",
    "engine_for",
    "engine_named",
    "engine_names",
    "engines",
]

ENTRY_POINT_GROUP: Final = "aprqa.engines"
"""Where packages name their engines: ``name = "module:Class"``."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
_PARTS = ("info", "invocation", "open")
_MAX_REASON = 300


class EngineCatalogue(WireModel, frozen=True, kw_only=True):
    """See the comments of the data file."""

    schema: Literal["aprqa-engines/1"]
    built_in: dict[str, str]
    preferred: dict[ModelFormat, tuple[str, ...]]
    without_engine: dict[ModelFormat, str]


class EnginePlugin(Protocol):
    """An entry point, as :mod:`importlib.metadata` has it."""

    @property
    def name(self) -> str:
        """The engine's name."""
        ...

    @property
    def value(self) -> str:
        """Module and class."""
        ...

    def load(self) -> object:
        """Import the class."""
        ...


Plugins = Callable[[], Iterable[EnginePlugin]]


def _installed() -> Iterable[EnginePlugin]:
    return importlib.metadata.entry_points(group=ENTRY_POINT_GROUP)


@cache
def engine_catalogue() -> EngineCatalogue:
    """Return the engines of this installation and their order."""
    return load_data("engines.yaml", EngineCatalogue)


def engine_names(plugins: Plugins = _installed) -> tuple[str, ...]:
    """Return the names of all engines, those of the package first; imports none of them."""
    own = engine_catalogue().built_in
    others = sorted({plugin.name for plugin in plugins()} - own.keys())
    return (*own, *others)


def engine_named(name: str, plugins: Plugins = _installed) -> Engine:
    """Return an engine, not opened.

    One of another package that cannot be imported, or is no engine, comes back as an engine that is
    not available and says why.

    Raises:
        EngineAbsentError: there is no engine of that name.
    """
    own = engine_catalogue().built_in
    if name in own:
        module, _, kind = own[name].partition(":")
        engine: Engine = getattr(importlib.import_module(module), kind)()
        return engine
    found = {plugin.value: plugin for plugin in plugins() if plugin.name == name}
    if not found:
        known = engine_names(plugins)
        hint = near_name(name, list(known)) or f"known are {', '.join(sorted(known))}"
        what = f"there is no engine {name!r}: {hint}"
        raise EngineAbsentError(what)
    if len(found) > 1:
        return _LackingEngine(name, f"several packages name theirs so: {', '.join(sorted(found))}")
    (plugin,) = found.values()
    return _plugged(plugin)


def engines(plugins: Plugins = _installed) -> dict[str, Engine]:
    """Return every engine by name; none of them is opened, and none need be available."""
    return {name: engine_named(name, plugins) for name in engine_names(plugins)}


def describe(engine: Engine) -> EngineInfo:
    """Return what the engine says of itself; one that fails to is one that is not available."""
    try:
        info = engine.info()
    except Exception as error:  # noqa: BLE001 - the code of another package can raise anything
        return _LackingEngine(engine.name, f"it cannot describe itself: {_said(error)}").info()
    found: object = info
    if not isinstance(found, EngineInfo):
        return _LackingEngine(engine.name, "its info() is no EngineInfo").info()
    return info


def configured(engine: Engine, options: Mapping[str, OptionValue]) -> Engine:
    """Return the engine with the options that are given for it.

    Raises:
        InputError: an option is unknown or has a wrong value, or the engine takes none.
    """
    if not options:
        return engine
    if isinstance(engine, ConfigurableEngine):
        return engine.with_options(options)
    what = f"engine {engine.name} takes no options, and is given {', '.join(sorted(options))}"
    raise InputError(Problem(what=what))


def engine_for(
    format: ModelFormat,  # noqa: A002 - the name that cells and model files have for it
    backend: Backend,
    *,
    asked: str | None,
    candidates: Mapping[str, Engine] | None = None,
    options: Mapping[str, Mapping[str, OptionValue]] | None = None,
    passed_over: Mapping[str, str] = MappingProxyType({}),
) -> Engine:
    """Choose the engine of a cell: the one asked for, or the first that can run it.

    Args:
        format: of the model's weights.
        backend: where it is to compute.
        asked: the name of an engine, or nothing.
        candidates: the engines to choose from; all there are unless given.
        options: the options of each engine by its name.
        passed_over: why engines are not to be chosen for this model, by their names.

    Raises:
        EngineAbsentError: no engine, or not the one asked for, can run this format on this backend
            on this machine; the message says what is missing and how to get it.
        InputError: the options of the engine are wrong.
    """
    catalogue = engine_catalogue()
    known = tuple(candidates) if candidates is not None else None
    if asked is not None:
        if known is not None and asked not in known:
            hint = near_name(asked, sorted(known)) or f"known are {', '.join(sorted(known))}"
            what = f"there is no engine {asked!r}: {hint}"
            raise EngineAbsentError(what)
        names: tuple[str, ...] = (asked,)
    else:
        preferred = catalogue.preferred.get(format, ())
        names = tuple(name for name in preferred if known is None or name in known)
    lacks: list[str] = []
    for name in names:
        engine = engine_named(name) if candidates is None else candidates[name]
        engine = configured(engine, (options or {}).get(name, {}))
        lack = passed_over.get(name) or _lack(engine, format, backend)
        if not lack:
            return engine
        lacks.append(f"{name} {lack}")
    missing = "; ".join(lacks) or catalogue.without_engine.get(format, "none is installed")
    what = f"no engine can run {format} on {backend} here: {missing}"
    raise EngineAbsentError(what)


def _lack(engine: Engine, format: ModelFormat, backend: Backend) -> str:  # noqa: A002 - as above
    """Return what the engine lacks for the task, or nothing."""
    info = describe(engine)
    if not info.available:
        return f"is not available: {info.reason} ({info.how_to_get})"
    if format not in info.formats:
        return f"does not read {format}"
    if backend not in info.backends:
        return f"has no {backend} here ({info.how_to_get})"
    return ""


def _plugged(plugin: EnginePlugin) -> Engine:
    """Import the engine of another package, or say what is wrong with it."""
    name = plugin.name
    if not _NAME.fullmatch(name):
        return _LackingEngine(name, "a name is 1 to 32 of a-z 0-9 . _ -")
    try:
        kind = plugin.load()
        engine = kind() if callable(kind) else None
    except Exception as error:  # noqa: BLE001 - the code of another package can raise anything
        return _LackingEngine(name, f"its entry point {plugin.value} fails: {_said(error)}")
    missing = [part for part in _PARTS if not callable(getattr(engine, part, None))]
    if missing:
        what = f"its entry point {plugin.value} is no engine: it has no {', '.join(missing)}"
        return _LackingEngine(name, what)
    if getattr(engine, "name", None) != name:
        what = f"its entry point {plugin.value} calls itself {getattr(engine, 'name', None)!r}"
        return _LackingEngine(name, what)
    return engine  # type: ignore[return-value] # it has all parts of the protocol


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_REASON]


class _LackingEngine:
    """Stands for an engine of another package that cannot be used."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self._reason = reason

    def info(self) -> EngineInfo:
        """Say why it cannot be used."""
        return EngineInfo(
            name=self.name,
            version=None,
            available=False,
            reason=self._reason,
            how_to_get="mend or remove the package that brings it",
            formats=(),
            backends=(),
        )

    def invocation(self, model: ModelFiles, backend: Backend) -> str:
        """Raise what keeps it from being used."""
        self.open(model, backend)

    def open(self, model: ModelFiles, backend: Backend) -> NoReturn:
        """Raise what keeps it from being used."""
        del model, backend
        what = f"engine {self.name} is not available: {self._reason}"
        raise EngineAbsentError(what)
