"""The names that conditions may use: ``data/facts.yaml``."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = [
    "FactEntry",
    "FactType",
    "FunctionEntry",
    "Scope",
    "fact_catalogue",
    "function_catalogue",
]

FactType = Literal["boolean", "number", "text", "answers"]
Scope = Literal["scenario", "cell", "run"]


class FactEntry(WireModel, frozen=True, kw_only=True):
    """One fact, as ``data/facts.yaml`` has it."""

    name: str
    type: FactType
    of: Scope
    """What there is one of it for."""
    meaning: str
    needs: tuple[str, ...] = ()
    """What a plan must have for the fact to be there."""
    offered: bool = True
    """Whether anything here records it."""


class FunctionEntry(WireModel, frozen=True, kw_only=True):
    """One function."""

    name: str
    takes: tuple[Literal["text", "prompt", "output"], ...]
    """``text`` takes any text; ``prompt`` and ``output`` take the facts of these names alone."""
    gives: Literal["boolean", "number"]
    meaning: str
    of: Scope = "scenario"
    """What it is asked of; a function of texts is of the scenario that they stand in."""
    needs: tuple[str, ...] = ()


class _FactsFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-facts/1"]
    facts: tuple[FactEntry, ...]
    functions: tuple[FunctionEntry, ...]


@cache
def fact_catalogue() -> dict[str, FactEntry]:
    """Return all facts by name, in the order of the data file."""
    return {entry.name: entry for entry in load_data("facts.yaml", _FactsFile).facts}


@cache
def function_catalogue() -> dict[str, FunctionEntry]:
    """Return all functions by name, in the order of the data file."""
    return {entry.name: entry for entry in load_data("facts.yaml", _FactsFile).functions}
