"""What another tool says of a file that is not opened here: APR files, by the engine ``apr``.

Its words are no more than a report: the gates that rest on it say whose it is. A report that is
missing, unknown or at odds with itself or the file is none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeAlias, runtime_checkable

from aprqa_ci.execution.apr_engine import APR_ENGINE, engine_here
from aprqa_ci.execution.engines.interface import EngineAbsentError, OptionValue

__all__ = ["Examination", "ExaminesFiles", "FindExaminer", "apr_examiner", "no_examiner"]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What a tool says of one file, after it has looked at every tensor."""

    format: str
    """What it takes the file for."""
    tensors: int
    """How many it looked at; at least one."""
    names: tuple[str, ...]
    """Their names, where it lists them; as many as ``tensors``, or none."""
    violations: int
    """How many rules are broken, as it counts them."""
    failed: Mapping[str, str]
    """The tensors that are not sound, each with what is wrong."""
    architecture: str | None = None


@runtime_checkable
class ExaminesFiles(Protocol):
    """An engine that looks at a file and says whether its tensors are sound."""

    def examine(self, file: Path) -> Examination:
        """Look at a file.

        Raises:
            EngineAbsentError: the tool is not here, or its reports cannot be relied on.
            ModelLoadError: it says that the file is damaged.
            MemoryError: there is not enough memory.
        """
        ...


FindExaminer: TypeAlias = Callable[[], tuple[ExaminesFiles, str]]
"""Returns what examines APR files, and its name with its version.

Raises:
    EngineAbsentError: there is none.
"""


def no_examiner() -> tuple[ExaminesFiles, str]:
    """Stand for a machine that has nothing to look at APR files with.

    Raises:
        EngineAbsentError: always.
    """
    what = "nothing here looks into APR files"
    raise EngineAbsentError(what)


def apr_examiner(options: Mapping[str, OptionValue] = MappingProxyType({})) -> FindExaminer:
    """Return what finds the examiner of APR files on this machine.

    Args:
        options: what the engine is told here, for example where its binary is.
    """

    def find() -> tuple[ExaminesFiles, str]:
        engine, info = engine_here(APR_ENGINE, options)
        if not info.available or not isinstance(engine, ExaminesFiles):
            lack = info.reason or "it does not look into files"
            what = f"APR files are looked at by the engine {APR_ENGINE}: {lack}"
            raise EngineAbsentError(what)
        return engine, f"{APR_ENGINE}/{info.version or 'unknown'}"

    return find
