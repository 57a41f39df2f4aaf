"""The parts of a certificate, each a strict wire model of its own."""

import msgspec

from aprqa_ci.vocabulary import Backend, GatewayState, ModelFormat, Outcome, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = [
    "CertifiedCategory",
    "CertifiedCell",
    "CertifiedCoverage",
    "CertifiedDerivation",
    "CertifiedEnd",
    "CertifiedFinding",
    "CertifiedFlaky",
    "CertifiedGateway",
    "CertifiedModel",
    "CertifiedPassRate",
    "CertifiedPenalty",
    "CertifiedPlaybook",
    "CertifiedPolicy",
    "CertifiedSource",
    "CertifiedTally",
    "CertifiedThroughput",
]


class CertifiedSource(WireModel, frozen=True, kw_only=True):
    """Which commit of which repository of the hub a variant was."""

    repo: str
    commit: str
    """40 hexadecimal digits; what ``revision`` stood for."""


class CertifiedDerivation(WireModel, frozen=True, kw_only=True):
    """How a variant was made that nobody published.

    What is certified of it is a conversion of this project.
    """

    source: str
    """The format that it was made from."""
    source_digest: str
    """SHA-256 of the canonical JSON of the SHA-256 of each file of the source by its name, which
    ``files`` has under ``derived … of …``."""
    tool: str
    """What made it, with its version."""
    repo: str | None = None
    """The repository of the hub that the source is of, if it came from there."""
    commit: str | None = None


class CertifiedModel(WireModel, frozen=True, kw_only=True):
    """The model, down to the bytes of its files."""

    hf_repo: str
    revision: str | None
    family: str | None
    size_category: SizeCategory
    files: dict[str, dict[str, str]]
    """By format, with its quantization (``gguf-q8_0``): the SHA-256 of each file by its name."""
    sources: dict[str, CertifiedSource] = msgspec.field(default_factory=dict)
    """By format, with its quantization; absent for files that did not come from the hub."""
    # Absent rather than empty: a certificate without them has the digest that it always had.
    derived: dict[str, CertifiedDerivation] | msgspec.UnsetType = msgspec.UNSET
    """By format, with its quantization: what was not found anywhere and made of other files."""


class CertifiedPlaybook(WireModel, frozen=True, kw_only=True):
    """The playbook that was carried out."""

    name: str
    digest: str
    """SHA-256 of the playbook file's bytes."""
    version: str


class CertifiedPolicy(WireModel, frozen=True, kw_only=True):
    """The policy that the score was computed under."""

    id: str
    version: int


class CertifiedGateway(WireModel, frozen=True, kw_only=True):
    """One gateway's state."""

    state: GatewayState
    reasons: tuple[str, ...]
    records: tuple[str, ...]
    """The ids of the records behind it."""


class CertifiedTally(WireModel, frozen=True, kw_only=True):
    """How many scenarios came to which end."""

    planned: int
    corroborated: int
    falsified: int
    skipped: int
    timeout: int
    crashed: int
    missing: int


class CertifiedCategory(WireModel, frozen=True, kw_only=True):
    """One category's part of the score, before any gateway zeroes it."""

    tally: CertifiedTally
    weight: int
    points: float
    maximum: float


class CertifiedPenalty(WireModel, frozen=True, kw_only=True):
    """Points taken beyond a category's share."""

    code: str
    points: int
    scenario: str


class CertifiedPassRate(WireModel, frozen=True, kw_only=True):
    """Corroborated / planned, with its 95 % Wilson interval."""

    corroborated: int
    planned: int
    rate: float
    low: float
    high: float


class CertifiedCoverage(WireModel, frozen=True, kw_only=True):
    """How much of the plan the evidence speaks of."""

    planned: int
    recorded: int
    missing: tuple[str, ...]
    skipped: dict[str, str]
    """The cause of each skipped scenario."""


class CertifiedFinding(WireModel, frozen=True, kw_only=True):
    """Something about the evidence itself that bars a certificate."""

    kind: str
    text: str
    subjects: tuple[str, ...]


class CertifiedEnd(WireModel, frozen=True, kw_only=True):
    """How one attempt at a scenario ended."""

    run_id: str | None
    attempt: int
    outcome: Outcome
    reason: str
    record: str
    """The id of the record, which is in the evidence."""


class CertifiedFlaky(WireModel, frozen=True, kw_only=True):
    """A scenario whose attempts ended in different ways."""

    scenario: str
    ends: tuple[CertifiedEnd, ...]
    """By run and attempt."""


class CertifiedCell(WireModel, frozen=True, kw_only=True):
    """What one cell reached; the next run compares itself with it."""

    tally: CertifiedTally
    corroborated: tuple[str, ...]
    """The ids of the scenarios that were corroborated."""
    failed: tuple[str, ...] = ()
    """The ids of the scenarios that spoke against the model."""
    tokens_per_second: float | None
    """The median measured throughput."""
    questions: str | msgspec.UnsetType = msgspec.UNSET
    """The digest of the questions that were put to it: answers to others are not compared."""


class CertifiedThroughput(WireModel, frozen=True, kw_only=True):
    """The median measured throughput of one format on one backend."""

    format: ModelFormat
    backend: Backend
    tokens_per_second: float
    measurements: int
