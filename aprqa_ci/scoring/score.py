"""The score object: every table, report and CSV cell reads its numbers from here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from aprqa_ci.planning.plan import PlacedOut, PlannedGate
from aprqa_ci.scoring.wording import brief
from aprqa_ci.vocabulary import (
    Backend,
    Category,
    Gateway,
    GatewayState,
    Modality,
    ModelFormat,
    Outcome,
    Status,
)

__all__ = [
    "CategoryScore",
    "CellSummary",
    "Coverage",
    "Finding",
    "FindingKind",
    "FlakyEnd",
    "FlakyScenario",
    "GatewayResult",
    "PassRate",
    "Penalty",
    "ScenarioScore",
    "Score",
    "Tally",
    "Throughput",
    "Verdict",
]

_MOST_ENDS = 8

Verdict = Literal["good", "fell_short", "inconclusive"]

FindingKind = Literal[
    "duplicate",
    "no-records",
    "other-model",
    "repeated-plan-id",
    "repeated-record-id",
    "unfounded-verdict",
    "unknown-gate",
    "unknown-scenario",
    "wrong-gate",
    "wrong-plan",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about the evidence itself that keeps it from being trusted with a certificate."""

    kind: FindingKind
    text: str
    """What it is, with how many there are and the first few subjects by name."""
    subjects: tuple[str, ...] = ()
    """All scenario ids, record ids, gate ids or model ids that it is about."""


@dataclass(frozen=True, kw_only=True)
class FlakyEnd:
    """How one attempt at a scenario ended."""

    run_id: str | None
    attempt: int
    outcome: Outcome
    reason: str
    """On one line and cut to a readable length."""
    record: str
    """The id of the record."""


@dataclass(frozen=True, kw_only=True)
class FlakyScenario:
    """A scenario whose attempts, under one and the same plan, ended in different ways."""

    scenario: str
    ends: tuple[FlakyEnd, ...]
    """By run and attempt; skips, which are no ends, are left out."""

    @property
    def ends_text(self) -> str:
        """The ends in short, as ``attempt 1 Falsified, attempt 2 Corroborated``."""
        runs = {end.run_id for end in self.ends}
        texts = [
            f"attempt {end.attempt}{f' of {brief(str(end.run_id), 40)}' if len(runs) > 1 else ''} "
            f"{end.outcome}"
            for end in self.ends[:_MOST_ENDS]
        ]
        rest = len(self.ends) - len(texts)
        return ", ".join([*texts, *([f"and {rest} more"] if rest else [])])


class ScenarioScore(Struct, frozen=True, kw_only=True, gc=False):
    """What became of one scenario: planned, or present in the evidence where there is no plan.

    There are as many as records, and a struct is made in a tenth of the time of a data class.
    """

    scenario: str
    """The planned scenario's id; of a foreign record, the record's id."""
    cell: str
    gate_id: str
    gateway: Gateway | None
    category: Category | None
    """What it counts for; neither for a gate id that the policy does not know."""
    outcome: Outcome | None
    """Absent when it was planned and no record of it exists."""
    earned: bool
    """Whether the policy credits it with its points."""
    reason: str
    """The record's reason, on one line and cut to a readable length."""
    cause: str
    """Of a skip: whose doing it was, for example ``infrastructure:engine-missing``."""
    records: tuple[str, ...]
    """The ids of the records behind it."""
    own_gate: PlannedGate | None = None
    """The gate, where the playbook defines it and not the catalogue."""

    @property
    def in_the_score(self) -> bool:
        """Whether it takes part in the score.

        A gate that the playbook defines can cost points and never earn any: who writes the gates
        would otherwise write the score.
        """
        if self.own_gate is not None and self.earned:
            return False
        return self.gateway is not None or self.category is not None

    @property
    def outcome_text(self) -> str:
        """The outcome's word, or ``missing``."""
        return "missing" if self.outcome is None else self.outcome.value

    @property
    def is_infrastructure(self) -> bool:
        """Whether it was skipped because our machinery or the machine failed."""
        return self.outcome is Outcome.SKIPPED and self.cause.startswith("infrastructure")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many scenarios came to which end."""

    corroborated: int = 0
    falsified: int = 0
    skipped: int = 0
    timeout: int = 0
    crashed: int = 0
    missing: int = 0

    @classmethod
    def of(cls, results: Iterable[ScenarioScore]) -> "Tally":
        """Count the outcomes of ``results``."""
        outcomes = [result.outcome for result in results]
        return cls(
            corroborated=outcomes.count(Outcome.CORROBORATED),
            falsified=outcomes.count(Outcome.FALSIFIED),
            skipped=outcomes.count(Outcome.SKIPPED),
            timeout=outcomes.count(Outcome.TIMEOUT),
            crashed=outcomes.count(Outcome.CRASHED),
            missing=outcomes.count(None),
        )

    @property
    def planned(self) -> int:
        """All of them."""
        return self.recorded + self.missing

    @property
    def recorded(self) -> int:
        """Those that the evidence speaks of."""
        return self.corroborated + self.falsified + self.skipped + self.timeout + self.crashed


@dataclass(frozen=True, kw_only=True)
class GatewayResult:
    """What the evidence says of one gateway."""

    gateway: Gateway
    state: GatewayState
    reasons: tuple[str, ...]
    """Why it is not passed, a sentence each; for a passed gateway what shows it."""
    records: tuple[str, ...]
    """The ids of the records behind the state."""


@dataclass(frozen=True, kw_only=True)
class CategoryScore:
    """One category's part of the score, before any gateway zeroes it."""

    category: Category
    tally: Tally
    weight: int
    """The policy's points for it, before renormalisation."""
    points: float
    """Points earned."""
    maximum: float
    """Points it could earn; 0 when it does not count."""
    credited: bool = False
    """Whether it was never tested and got its points all the same (policy apr-qa-0 only)."""

    @property
    def counts(self) -> bool:
        """Whether it takes part in the score."""
        return self.tally.planned > 0 or self.credited


@dataclass(frozen=True, kw_only=True)
class Penalty:
    """Points taken beyond a category's share."""

    code: Literal["TIMEOUT", "CRASH"]
    points: int
    """How many points are taken; above 0."""
    scenario: str


@dataclass(frozen=True, kw_only=True)
class PassRate:
    """Corroborated / planned over all scenarios, gateways included."""

    corroborated: int
    planned: int
    rate: float
    low: float
    """The lower end of the 95 % Wilson interval."""
    high: float
    """The upper end of the 95 % Wilson interval."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How much of what was planned the evidence speaks of."""

    planned: int
    recorded: int
    missing: tuple[str, ...]
    """Planned scenarios without a record."""
    skipped: Mapping[str, str]
    """The cause of each skipped scenario; empty text where the record names none."""


@dataclass(frozen=True, kw_only=True)
class CellSummary:
    """One cell's outcomes."""

    id: str
    modality: Modality
    backend: Backend
    format: ModelFormat
    quantization: str | None
    tally: Tally
    corroborated: tuple[str, ...]
    """The ids of the scenarios that were corroborated."""
    failed: tuple[str, ...]
    """The ids of the scenarios that spoke against the model."""
    tokens_per_second: float | None
    """The median over the cell's throughput measurements."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Measured throughput of one format on one backend."""

    format: ModelFormat
    backend: Backend
    tokens_per_second: float
    """The median over all throughput measurements."""
    measurements: int


@dataclass(frozen=True, kw_only=True)
class Score:
    """The result of scoring one playbook's evidence under one policy."""

    model_id: str
    """``org/name``: the plan's model, else the one most records speak of."""
    playbook: str | None
    policy: str
    policy_version: int
    run_id: str | None
    """The run that was scored; absent for evidence without run ids."""
    plan_digest: str | None
    tier: str | None
    narrowed: bool
    declared_not_run: tuple[str, ...]
    """Sections of the playbook that were accepted and are not executed."""
    mqs: int
    """The Model Qualification Score, 0 to 1000."""
    raw: int
    """The score before the gateways: what it would be had none failed."""
    subtotal: int
    """The categories' points, rounded as the policy says, before penalties."""
    grade: str
    normalised: float | None
    """Policy apr-qa-0 only: the logarithmic score, 0 to 100, that its grade comes from."""
    status: Status
    certified_tier: str
    """The tier, when CERTIFIED; else ``none``."""
    gateways: Mapping[Gateway, GatewayResult]
    """All five, in order."""
    categories: Mapping[Category, CategoryScore]
    """All six, in order, those without a scenario too."""
    penalties: tuple[Penalty, ...]
    totals: Tally
    pass_rate: PassRate
    coverage: Coverage
    scenarios: tuple[ScenarioScore, ...]
    """In plan order; without a plan in the order of their ids."""
    cells: Mapping[str, CellSummary]
    throughput: tuple[Throughput, ...]
    unplaced: tuple[PlacedOut, ...]
    """Cells that were not run, for no runner class had room for them."""
    deferred: tuple[PlacedOut, ...]
    """Cells that were not run, for only a run of the repository's own may reach their machines."""
    flaky: tuple[FlakyScenario, ...]
    """Scenarios that ended in different ways in the attempts and runs that the file holds."""
    findings: tuple[Finding, ...]
    obstacles: tuple[str, ...]
    """What stands between this result and a certificate, in plain sentences."""

    @property
    def verdict(self) -> Verdict:
        """What the status means to a caller that wants one of three answers."""
        match self.status:
            case Status.CERTIFIED | Status.PROVISIONAL:
                return "good"
            case Status.BLOCKED:
                return "fell_short"
            case Status.INCONCLUSIVE:
                return "inconclusive"

    @property
    def gateways_passed(self) -> bool:
        """Whether all five gateways are passed."""
        return all(entry.state is GatewayState.PASSED for entry in self.gateways.values())
