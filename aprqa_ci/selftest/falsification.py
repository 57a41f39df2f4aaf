"""What a study found, as a document: ``docs/falsification.json``."""

from typing import Any, Literal

import msgspec

from aprqa_ci.selftest.mutants import MutantClass
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import WireModel

__all__ = [
    "FALSIFICATION_SCHEMA",
    "ControlRun",
    "FalseAlarm",
    "Falsification",
    "HealthyRuns",
    "JudgedMutant",
    "NotApplicable",
    "StudyMachine",
    "Verdict",
]

FALSIFICATION_SCHEMA = "aprqa-falsification/1"

Verdict = Literal["killed", "survived", "equivalent"]


class JudgedMutant(WireModel, frozen=True, kw_only=True):
    """One broken model and what became of it."""

    id: str
    """The mutant's id, ``#`` and the number of its value."""
    class_: MutantClass = msgspec.field(name="class")
    meaning: str
    parameters: dict[str, Any]
    expected: tuple[str, ...]
    """Any of these had to catch it: a gate, a gateway, a category, or the cause of a skip."""
    caught_by: tuple[str, ...]
    """The gates that failed and the causes of skips, in plan order."""
    status: Status | None
    """Of its certificate; absent when the pipeline did not come to one."""
    mqs: int
    verdict: Verdict
    """``killed``: not certified, and caught by what was expected. ``equivalent``: certified, and
    shown to be the sound model. Everything else survived."""
    reason: str
    """Of a killed one what the first expected gate said; of the others why they are not killed."""
    held_out: bool
    seconds: float


class ControlRun(WireModel, frozen=True, kw_only=True):
    """A plan of mutants with the sound model, which it has to certify."""

    plan: str
    status: Status | None
    mqs: int
    non_green: tuple[str, ...]


class FalseAlarm(WireModel, frozen=True, kw_only=True):
    """A run of the sound model that did not end as it should."""

    run: str
    """What was run: plan, seed, workers, threads."""
    status: Status | None
    mqs: int
    reason: str
    """What kept it from a certificate."""


class HealthyRuns(WireModel, frozen=True, kw_only=True):
    """The runs of the sound model, the controls among them."""

    runs: int
    scenarios: int
    certified: int
    seeds: int
    plans: tuple[str, ...]
    workers: tuple[int, ...]
    threads: tuple[int, ...]
    non_green: tuple[str, ...]
    """Every scenario that was not Corroborated, with its run and outcome."""


class NotApplicable(WireModel, frozen=True, kw_only=True):
    """A mutant that this model cannot be broken by."""

    id: str
    reason: str


class StudyMachine(WireModel, frozen=True, kw_only=True):
    """What kind of machine the study ran on."""

    system: str
    processors: int
    python: str
    engines: dict[str, str]
    """The engines that answered, with their versions."""


class Falsification(WireModel, frozen=True, kw_only=True):
    """The result of a mutation study of the certification."""

    schema: Literal["aprqa-falsification/1"] = "aprqa-falsification/1"
    tool_version: str
    policy: str
    """The scoring policy and its version."""
    model: str
    date: str
    """RFC 3339, UTC."""
    seconds: float
    machine: StudyMachine
    mutants: tuple[JudgedMutant, ...]
    not_applicable: tuple[NotApplicable, ...]
    controls: tuple[ControlRun, ...]
    healthy_runs: HealthyRuns
    false_alarms: tuple[FalseAlarm, ...]

    def of(self, verdict: Verdict) -> tuple[JudgedMutant, ...]:
        """Return the mutants with a verdict."""
        return tuple(mutant for mutant in self.mutants if mutant.verdict == verdict)
