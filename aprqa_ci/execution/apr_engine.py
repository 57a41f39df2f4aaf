"""The engine that speaks for APR files, which nothing here opens."""

from collections.abc import Mapping
from typing import Final

from aprqa_ci.execution.engines.interface import Engine, EngineInfo, OptionValue
from aprqa_ci.execution.engines.registry import configured, describe, engine_named

__all__ = ["APR_ENGINE", "engine_here"]

APR_ENGINE: Final = "apr"


def engine_here(name: str, options: Mapping[str, OptionValue]) -> tuple[Engine, EngineInfo]:
    """Return an engine with what it is told, and what it says of itself on this machine."""
    engine = configured(engine_named(name), options)
    return engine, describe(engine)
