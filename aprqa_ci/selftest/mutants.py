"""The mutants: which ways of breaking a model there are, and which gate has to catch each.

They are data (``data/mutants.yaml``). A mutant names a way of breaking (a transform of the model's
files, or a fault of the engine), the plan that it is looked for with, and two halves of values:
those that gates, suites and limits may be improved with, and those that are held out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Literal

import msgspec

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.playbook.field_types import QuantizationName
from aprqa_ci.playbook.model import ProfileAssertions
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat
from aprqa_ci.wire import WireModel, near_name

__all__ = [
    "Breakage",
    "Mutant",
    "MutantClass",
    "MutantFile",
    "PlanShape",
    "Sample",
    "chosen_samples",
    "mutant_file",
]

Parameters = dict[str, Any]


class MutantClass(StrEnum):
    """In what way a model is broken."""

    FILES = "files"
    CONFIG = "config"
    WEIGHTS = "weights"
    QUANTIZATION = "quantization"
    TOKENIZER = "tokenizer"
    ENGINE = "engine"
    PERFORMANCE = "performance"


class PlanShape(WireModel, frozen=True, kw_only=True):
    """What a mutant is looked for with: the matrix of its playbook, at the tier that certifies."""

    formats: tuple[ModelFormat, ...]
    quantizations: tuple[QuantizationName, ...] = ("q8_0",)
    modalities: tuple[Modality, ...] = (Modality.RUN,)
    backends: tuple[Backend, ...] = (Backend.CPU,)
    faulty_engine: bool = False
    """Whether the engine that can be told to fail runs the cells. Without a fault it is sound."""
    baseline: bool = False
    """Whether the sound model is certified before, for the broken one to be compared with."""
    timeout_ms: int = 20_000
    limits: ProfileAssertions | None = None
    """The performance limits of the playbook; absent, those of the model's size."""


class Breakage(WireModel, frozen=True, kw_only=True):
    """One change of the model's files."""

    transform: str
    """The name of the change (:mod:`aprqa_ci.selftest.transforms`)."""
    parameters: Parameters = {}  # noqa: RUF012 - msgspec copies an empty default for every instance


class Mutant(WireModel, frozen=True, kw_only=True):
    """One way of breaking a model."""

    id: str
    class_: MutantClass = msgspec.field(name="class")
    meaning: str
    """What has happened to the model, in words."""
    transform: str | None = None
    """The change of the files; or"""
    fault: str | None = None
    """the fault of the engine (:mod:`aprqa_ci.selftest.faults`)."""
    parameters: Parameters = {}  # noqa: RUF012 - as above
    plan: str
    """The name of the plan that has to catch it."""
    expect: tuple[str, ...]
    """What has to catch it, any of these: a gate id, a gateway, a category, or the cause of a skip
    (``infrastructure:engine-missing``)."""
    dev: tuple[Parameters, ...] = ({},)
    """The values that gates and limits may be improved with."""
    held_out: tuple[Parameters, ...] = ()
    """The values that they may not."""
    fast: bool = False
    """Whether its first value belongs to the fast subset."""

    def __post_init__(self) -> None:
        """Refuse a mutant that breaks nothing, or in two ways."""
        if (self.transform is None) == (self.fault is None):
            raise ValueError("a mutant has a transform or a fault")  # noqa: EM101 - msgspec shows it


class MutantFile(WireModel, frozen=True, kw_only=True):
    """See the comments of the data file."""

    schema: Literal["aprqa-mutants/1"]
    plans: dict[str, PlanShape]
    mutants: tuple[Mutant, ...]

    def __post_init__(self) -> None:
        """Refuse ids that stand twice, and plans that there are not."""
        ids = [mutant.id for mutant in self.mutants]
        if len(set(ids)) != len(ids):
            raise ValueError("an id stands twice")  # noqa: EM101 - msgspec shows it
        missing = {mutant.plan for mutant in self.mutants} - self.plans.keys()
        if missing:
            raise ValueError(f"no such plan: {', '.join(sorted(missing))}")  # noqa: EM102 - as above


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A mutant with one of its values: what is broken and run."""

    mutant: Mutant
    number: int
    """Counts the values of the mutant, from 1; the held out ones come last."""
    parameters: Parameters
    held_out: bool

    @property
    def id(self) -> str:
        """The mutant's id with the number of the value."""
        return f"{self.mutant.id}#{self.number}"


@cache
def mutant_file() -> MutantFile:
    """Return the mutants of this installation."""
    return load_data("mutants.yaml", MutantFile)


def _samples(mutant: Mutant) -> Iterator[Sample]:
    halves = [(False, values) for values in mutant.dev]
    halves += [(True, values) for values in mutant.held_out]
    for number, (held_out, values) in enumerate(halves, start=1):
        yield Sample(
            mutant=mutant,
            number=number,
            parameters={**mutant.parameters, **values},
            held_out=held_out,
        )


def chosen_samples(
    mutants: Sequence[Mutant],
    *,
    classes: Sequence[MutantClass] = (),
    only: Sequence[str] = (),
    fast: bool = False,
) -> tuple[Sample, ...]:
    """Return the samples that are asked for, in the order of the file.

    Args:
        mutants: those to choose from.
        classes: only these classes; empty: all.
        only: only these ids, of mutants or samples; empty: all.
        fast: only the fast subset: the first value of the mutants that belong to it.

    Raises:
        InputError: there is no mutant of an id, or nothing is left.
    """
    samples = [sample for mutant in mutants for sample in _samples(mutant)]
    known = {sample.id for sample in samples} | {mutant.id for mutant in mutants}
    problems = [
        Problem(what=f"there is no mutant {name!r}", hint=near_name(name, sorted(known)))
        for name in only
        if name not in known
    ]
    if problems:
        raise InputError(problems)
    kept = tuple(
        sample
        for sample in samples
        if (not classes or sample.mutant.class_ in classes)
        and (not only or {sample.id, sample.mutant.id} & set(only))
        and (not fast or (sample.mutant.fast and sample.number == 1))
    )
    if not kept:
        raise InputError(Problem(what="no mutant is left to run"))
    return kept
