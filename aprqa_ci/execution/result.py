"""What execution hands on: one result per planned scenario."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from aprqa_ci.planning.plan import PlannedCell, PlannedScenario
from aprqa_ci.vocabulary import ModelFormat, Outcome

__all__ = [
    "AnswerKind",
    "Cause",
    "DerivedSource",
    "EngineRun",
    "Metrics",
    "ModelSource",
    "PassedOver",
    "ScenarioResult",
]


AnswerKind = Literal["", "garbage", "empty", "wrong", "engine-error"]
"""What kind of failure a failed answer is."""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What was measured while a scenario ran; nothing where nothing was."""

    tokens_per_second: float | None = None
    """Generated tokens over the wall time of the whole answer."""
    time_to_first_token_ms: float | None = None
    total_tokens: int | None = None
    """Generated tokens, counted by the engine."""
    memory_peak_mb: int | None = None
    """The most memory the cell's process ever had resident."""
    duration_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """An engine that comes before the one that answered, and does not know the architecture."""

    engine: str
    version: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """Which engine answered, where, and how it was called."""

    engine: str
    version: str
    device: str
    """The device with its proof, for example ``cpu (numpy)``."""
    invocation: str
    options_digest: str = ""
    """SHA-256 of what the engine was told on that machine; nothing when it was told nothing."""
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DerivedSource:
    """What files were made from, that nobody published."""

    format: ModelFormat
    digest: str
    """See ``ModelFiles.origin``."""
    tool: str
    """What wrote them, with its version."""


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """Which commit of which repository the files are, or those that they were made from."""

    repo: str | None
    """Unknown only of files that were made."""
    commit: str | None
    derived: DerivedSource | None = None
    """Of files that were made here: how."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why a scenario was skipped, or what a failure goes back to."""

    kind: str
    """``infrastructure`` (our machinery or the machine), ``model`` or ``policy``."""
    word: str
    """A word for it, for example ``engine-missing``."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.word}"


@dataclass(frozen=True, kw_only=True)
class ScenarioResult:
    """The outcome of one planned scenario, with all that is needed to judge it again."""

    cell: PlannedCell
    scenario: PlannedScenario
    outcome: Outcome
    reason: str
    output: str = ""
    """The answer; for a check, what was measured, as JSON."""
    stderr: str | None = None
    exit_code: int | None = None
    metrics: Metrics = field(default_factory=Metrics)
    cause: Cause | None = None
    kind: AnswerKind = ""
    """Of a failed answer: what kind of failure."""
    oracles: str = ""
    """Each oracle's verdict, for example ``garbage=Corroborated; arithmetic=Falsified``."""
    finish: str = ""
    engine: EngineRun | None = None
    source: ModelSource | None = None
    """Where the files come from, when they lie in the cache of the hub or were made here."""
    finished_at: datetime
