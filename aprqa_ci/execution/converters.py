"""Finding what converts APR files: the engine that has the name ``apr``."""

from collections.abc import Mapping
from types import MappingProxyType

from aprqa_ci.execution.apr_engine import APR_ENGINE, engine_here
from aprqa_ci.execution.derived_files import ConvertsFiles, FindConverter
from aprqa_ci.execution.engines.interface import EngineAbsentError, OptionValue

__all__ = ["APR_ENGINE", "apr_converter"]


def apr_converter(options: Mapping[str, OptionValue] = MappingProxyType({})) -> FindConverter:
    """Return what finds the converter of APR files on this machine.

    Args:
        options: what the engine is told here, for example where its binary is.
    """

    def find() -> tuple[ConvertsFiles, str]:
        engine, info = engine_here(APR_ENGINE, options)
        if not info.available or not isinstance(engine, ConvertsFiles):
            lack = info.reason or "it does not convert"
            what = f"APR files are converted by the engine {APR_ENGINE}: {lack}"
            raise EngineAbsentError(what)
        return engine, f"{APR_ENGINE}/{info.version or 'unknown'}"

    return find
