"""The plan: everything that will be tested, written down before anything is.

A plan is what completeness is proven against: a scenario that the plan names and the evidence lacks
is missing, and a missing scenario counts against the model.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from aprqa_ci.planning.baseline import Baseline
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.vocabulary import (
    Backend,
    Category,
    FailurePolicy,
    Gateway,
    Modality,
    ModelFormat,
    Severity,
    SizeCategory,
)
from aprqa_ci.wire import WireModel, canonical_json, digest_of

__all__ = [
    "PLAN_SCHEMA",
    "GroundTruth",
    "OracleSpec",
    "PerformanceLimits",
    "PlacedOut",
    "Plan",
    "PlannedCell",
    "PlannedGate",
    "PlannedModel",
    "PlannedParity",
    "PlannedPlaybook",
    "PlannedScenario",
    "PlannedShard",
    "PromptCase",
    "RunnerGroup",
    "RunsOn",
    "digest_for_playbook",
    "digest_in_parts",
    "plan_digest",
]

PLAN_SCHEMA: Final = "aprqa-plan/1"
_CELLS: Final = b'{"cells":['


class OracleSpec(WireModel, frozen=True, kw_only=True):
    """Which oracle judges an answer, and with what settings."""

    kind: str
    """A name of the oracle registry, for example ``arithmetic``."""
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    """Settings of that oracle; the oracle validates them."""


class PromptCase(WireModel, frozen=True, kw_only=True):
    """One question to a model, with how its answer is judged."""

    turns: tuple[str, ...]
    """The user's messages in order; more than one makes a conversation."""
    system: str | None = None
    """The system message, if any."""
    raw: bool = False
    """Send the only turn as it stands, without the model's chat template."""
    suite: str = "playbook"
    """The prompt suite it comes from, with its version: ``arithmetic@1``."""
    oracle: OracleSpec
    max_tokens: int = 32
    temperature: float = 0.0
    seed: int = 0


class PlannedScenario(WireModel, frozen=True, kw_only=True):
    """One thing to be tested: a prompt, or a check of another kind."""

    id: str
    """``<cell id>#007`` for the seventh prompt, ``<cell id>#<gate id>`` for a check."""
    gate_id: str
    """The gate of the catalogue that the outcome counts for."""
    prompt: PromptCase | None = None
    """The question; absent for a check, whose gate says how it is made."""


class PlannedCell(WireModel, frozen=True, kw_only=True):
    """One modality × backend × format (× quantization) of one playbook."""

    id: str
    """``<playbook>:<modality>-<backend>-<format>[-<quantization>]``."""
    playbook: str
    modality: Modality
    backend: Backend
    format: ModelFormat
    quantization: str | None = None
    """For GGUF: ``q8_0``, ``q4_k_m`` and so on; absent for formats that have one precision."""
    engine: str | None = None
    """The engine asked for; absent: the first available one that can run the cell."""
    timeout_ms: int
    """The hard limit of one scenario."""
    scenarios: tuple[PlannedScenario, ...]


class PlannedModel(WireModel, frozen=True, kw_only=True):
    """The model under test, as the playbook declares it."""

    hf_repo: str
    revision: str | None = None
    """The pinned commit or branch of the repository."""
    local_path: str | None = None
    """The declared local path, relative to the working directory where it lies below it."""
    formats: tuple[ModelFormat, ...]
    quantizations: tuple[str, ...] = ()
    size_category: SizeCategory
    family: str | None = None
    size_variant: str | None = None
    expected: dict[str, int] = msgspec.field(default_factory=dict)
    """Declared dimensions: hidden_dim, num_layers, num_heads, num_kv_heads, vocab_size,
    intermediate_dim."""


class PerformanceLimits(WireModel, frozen=True, kw_only=True):
    """What the performance gates compare with, on one backend."""

    min_throughput: float
    """Tokens per second, median."""
    max_ttft_ms: float
    """Time to the first token, median."""
    max_p50_ms: float
    """Time of a whole answer, median."""
    max_p99_ms: float
    """Time of a whole answer, 99th percentile."""


class GroundTruth(WireModel, frozen=True, kw_only=True):
    """The files that an independent engine reads to say what the model's answers are."""

    format: ModelFormat
    quantization: str | None = None


class PlannedParity(WireModel, frozen=True, kw_only=True):
    """A comparison with another runtime that serves the same model."""

    model_tag: str | None
    """What the model is called there; absent: the server has one model."""
    quantizations: tuple[str, ...]
    prompts: tuple[PromptCase, ...]
    min_perf_ratio: float
    """The least share of the other's throughput."""


class PlannedGate(WireModel, frozen=True, kw_only=True):
    """A gate that the playbook itself defines, judged when all cells have ended."""

    id: str
    """What the playbook calls it."""
    scenario: str
    """``<playbook>#<id>``: what stands for it among the scenarios."""
    gate_id: str
    """``playbook:<id>``, so that no playbook can speak for a gate of the catalogue."""
    category: Category
    """The part of the score that it costs points in when it does not hold."""
    severity: Severity
    """P0: no certificate when it does not hold."""
    description: str
    condition: str
    """In the language of ``docs/playbook.md``."""


class PlannedPlaybook(WireModel, frozen=True, kw_only=True):
    """One playbook's part of the plan, and all that scoring needs to know of it."""

    name: str
    path: str
    """Where it was read, relative to the working directory where that is possible."""
    digest: str
    """SHA-256 of the playbook file's bytes."""
    version: str
    model: PlannedModel
    tier: str
    seed: int
    failure_policy: FailurePolicy
    narrowed: bool = False
    """Whether ``--only`` or ``--backend`` left cells out; a narrowed run cannot certify."""
    declared_not_run: tuple[str, ...] = ()
    """Sections of the playbook that were accepted and are not executed."""
    warnings: tuple[str, ...] = ()
    performance: dict[Backend, PerformanceLimits] = msgspec.field(default_factory=dict)
    """The limits that the performance gates compare with."""
    oracles: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """The playbook's settings of oracles, by the oracle's kind."""
    ground_truth: GroundTruth | None = None
    """What the other formats are compared with; absent when nothing is compared."""
    probe_prompts: tuple[PromptCase, ...] = ()
    """The prompts that checks ask: agreement, repetition, memory, several clients."""
    measured_prompt: PromptCase | None = None
    """The prompt that throughput and times are measured on."""
    warmup: int = 1
    """Unmeasured runs before a measurement."""
    measure: int = 5
    """Measured runs of a measurement."""
    baseline: Baseline | None = None
    # Absent rather than empty: a plan without them has the digest that it always had.
    gates: tuple[PlannedGate, ...] | msgspec.UnsetType = msgspec.UNSET
    """The gates that the playbook defines; absent when it defines none that can be judged."""
    switched_off: tuple[Gateway, ...] | msgspec.UnsetType = msgspec.UNSET
    """Gateways that the playbook switches off; they are tested and never passed."""
    comparisons: Comparisons | msgspec.UnsetType = msgspec.UNSET
    """The settings of comparisons between files; absent, and left out of the digest, when the
    playbook asks for none."""
    formats_profiled: tuple[ModelFormat, ...] | msgspec.UnsetType = msgspec.UNSET
    """The formats that ``performance`` holds for; absent: all."""
    performance_elsewhere: dict[Backend, PerformanceLimits] | msgspec.UnsetType = msgspec.UNSET
    """The limits of the other formats."""
    profiled: bool | msgspec.UnsetType = msgspec.UNSET
    """Whether an engine that measures its own speed is asked to; absent where no cell has one."""
    parity: PlannedParity | msgspec.UnsetType = msgspec.UNSET
    """What a server of another make is compared on."""

    def limits(self, backend: Backend, format_: ModelFormat) -> PerformanceLimits:
        """Return the limits that a cell is held to.

        Raises:
            KeyError: the plan has none for the backend.
        """
        if self.formats_profiled and format_ not in self.formats_profiled:
            return (self.performance_elsewhere or {})[backend]
        return self.performance[backend]

    @property
    def own_gates(self) -> tuple[PlannedGate, ...]:
        """The gates that the playbook defines, perhaps none."""
        return self.gates or ()

    @property
    def gateways_off(self) -> tuple[Gateway, ...]:
        """The gateways that the playbook switches off, perhaps none."""
        return self.switched_off or ()


RunnerLabel = Annotated[str, Meta(min_length=1, max_length=256)]
RunnerLabels = Annotated[tuple[RunnerLabel, ...], Meta(min_length=1, max_length=16)]


class RunnerGroup(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """Machines asked for by their group, as GitHub's ``runs-on`` has it."""

    group: RunnerLabel
    """The runner group. Required."""
    labels: RunnerLabel | RunnerLabels | None = None
    """One label or several that the machine of the group must have."""


RunsOn = RunnerLabel | RunnerLabels | RunnerGroup
"""What a job asks GitHub for: a label, several labels, or a group."""


class PlannedShard(WireModel, frozen=True, kw_only=True):
    """A part of the plan that one job executes."""

    id: str
    cells: tuple[str, ...]
    expected_seconds: float
    runner: str | None = None
    """The runner class; absent in a plan for the machine that it is made on."""
    runs_on: RunsOn | None = None
    """What the job asks GitHub for."""
    timeout_minutes: int | None = None
    """After how many minutes the job is ended."""
    max_parallel: int | None = None
    """How many jobs of the runner class run at a time."""


class PlacedOut(WireModel, frozen=True, kw_only=True):
    """A cell that is in no shard; its scenarios are missing, and that blocks the certificate."""

    cell: str
    reason: str


class Plan(WireModel, frozen=True, kw_only=True):
    """All playbooks, all cells, and how the cells are packed into shards."""

    schema: Literal["aprqa-plan/1"] = PLAN_SCHEMA
    tool_version: str
    playbooks: tuple[PlannedPlaybook, ...]
    cells: tuple[PlannedCell, ...]
    shards: tuple[PlannedShard, ...]
    unplaced: tuple[PlacedOut, ...] = ()
    """Cells that no runner class has room for."""
    deferred: tuple[PlacedOut, ...] = ()
    """Cells that no class may take for a fork's pull request, and that another run will."""

    def cells_of(self, playbook: str) -> tuple[PlannedCell, ...]:
        """Return the cells of the playbook with that name, in plan order."""
        return tuple(cell for cell in self.cells if cell.playbook == playbook)

    def for_playbook(self, playbook: str) -> "Plan":
        """Return the plan of one playbook alone, without shards.

        The cells that are in no shard stay named. What evidence names the result by is
        ``digest_for_playbook``.
        """
        cells = self.cells_of(playbook)
        own = {cell.id for cell in cells}
        return msgspec.structs.replace(
            self,
            playbooks=tuple(entry for entry in self.playbooks if entry.name == playbook),
            cells=cells,
            shards=(),
            unplaced=tuple(each for each in self.unplaced if each.cell in own),
            deferred=tuple(each for each in self.deferred if each.cell in own),
        )

    def cells_named(self, ids: Iterable[str]) -> tuple[PlannedCell, ...]:
        """Return those of the plan's cells that have one of the ids, in plan order."""
        wanted = set(ids)
        return tuple(cell for cell in self.cells if cell.id in wanted)

    def playbook_of_cells(self) -> Mapping[str, str]:
        """Return the playbook of each cell, by the cell's id."""
        return {cell.id: cell.playbook for cell in self.cells}

    def digest(self) -> str:
        """Return what shards name the plan by, as ``plan_digest`` does."""
        return plan_digest(self)

    def playbook_named(self, name: str) -> "PlannedPlaybook":
        """Return the playbook of that name.

        Raises:
            KeyError: the plan has no such playbook.
        """
        for playbook in self.playbooks:
            if playbook.name == name:
                return playbook
        raise KeyError(name)


def plan_digest(plan: Plan) -> str:
    """Return the SHA-256 that shards name the plan by: of all of it, its shards included.

    It is that of the plan's canonical JSON, which is made a cell at a time: whole, that of a large
    plan takes as much memory as the plan.
    """
    return digest_in_parts(msgspec.structs.replace(plan, cells=()), plan.cells)


def digest_in_parts(rest: Plan, cells: Iterable[PlannedCell]) -> str:
    """Return the same of a plan whose cells come one after the other.

    Args:
        rest: the plan without its cells.
        cells: in plan order.
    """
    without = canonical_json(rest)
    # Keys are sorted, and none comes before this one.
    head, tail = without[: len(_CELLS)], without[len(_CELLS) :]
    assert head == _CELLS  # noqa: S101 - a field that comes before it would change every digest
    digest = sha256(_CELLS)
    for number, cell in enumerate(cells):
        digest.update(b"," + canonical_json(cell) if number else canonical_json(cell))
    digest.update(tail)
    return digest.hexdigest()


def digest_for_playbook(plan: Plan, playbook: str) -> str:
    """Return the SHA-256 that evidence and certificate of a playbook name the plan by.

    It is of what is to be tested, and does not change with the packing into shards, with the
    machines that there are, or with the other playbooks of the plan.
    """
    alone = plan.for_playbook(playbook)
    return digest_of(msgspec.structs.replace(alone, unplaced=(), deferred=()))
