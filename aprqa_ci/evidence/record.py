"""The evidence record, in the existing format of the field.

A record has the twelve fields of the existing tool, in its order, so that files of either tool are
read by both. What that format has no field for stands in ``metadata``, under the keys below.
"""

from enum import StrEnum

import msgspec

from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, Outcome
from aprqa_ci.wire import WireModel

__all__ = [
    "EvidenceHost",
    "EvidenceMetrics",
    "EvidenceModel",
    "EvidenceRecord",
    "EvidenceScenario",
    "MetadataKey",
    "PassedOverEngine",
    "machine_of",
    "model_id_of",
]


class MetadataKey(StrEnum):
    """Keys of ``EvidenceRecord.metadata`` that aprqa writes."""

    RUN_ID = "run_id"
    SCENARIO = "scenario"
    """The planned scenario's id."""
    CELL = "cell"
    PLAN = "plan"
    """The plan's digest."""
    CAUSE = "cause"
    """Of a Skipped record, and of a derived failure: ``infrastructure``, ``model`` or ``policy``,
    a colon, and a word, for example ``infrastructure:engine-missing``."""
    QUANTIZATION = "quantization"
    ENGINE = "engine"
    ENGINE_VERSION = "engine_version"
    ENGINE_OPTIONS = "engine_options"
    """SHA-256 of what the engine was told on that machine (docs/engines.md), if anything."""
    ENGINE_PASSED_OVER = "engine_passed_over"
    """The engines that were preferred and do not know the model's architecture: a JSON array of
    :class:`PassedOverEngine`."""
    DEVICE = "device"
    """What proves where the answer was computed."""
    INVOCATION = "invocation"
    """The exact call that reproduces the answer on this engine."""
    SUITE = "suite"
    ORACLES = "oracles"
    """Each oracle's verdict, for example ``response=Corroborated; arithmetic=Falsified``."""
    FINISH = "finish"
    """Why the answer ended: ``stop`` or ``length``."""
    KIND = "kind"
    """Of an answer that failed: ``garbage``, ``empty``, ``wrong`` or ``engine-error``."""
    ATTEMPT = "attempt"
    STANDS_FROM = "stands_from"
    """Of a record that was carried over: the run and the id of the earlier record, with a slash."""
    MODEL_REPO = "model_repo"
    """The repository of the hub that the model's files are of, or were made from."""
    MODEL_COMMIT = "model_commit"
    """Its commit."""
    DERIVED_FROM = "derived_from"
    """Of files that nobody published: the format that they were made from."""
    DERIVED_DIGEST = "derived_digest"
    """The SHA-256 of the canonical JSON of the SHA-256 of each file of that source by its name."""
    DERIVED_BY = "derived_by"
    """What made them, with its version."""


class PassedOverEngine(WireModel, frozen=True, kw_only=True):
    """An engine that was preferred and does not know the model's architecture."""

    engine: str
    version: str
    reason: str


class EvidenceModel(WireModel, frozen=True, kw_only=True):
    """The model in a record; the repository id is ``org/name[-variant]``."""

    org: str
    name: str
    variant: str | None = None


class EvidenceScenario(WireModel, frozen=True, kw_only=True):
    """What was asked."""

    id: str
    model: EvidenceModel
    modality: Modality
    backend: Backend
    format: ModelFormat
    prompt: str
    temperature: float
    max_tokens: int
    seed: int
    trace_level: str = "none"
    oracle_type: str


class EvidenceMetrics(WireModel, frozen=True, kw_only=True):
    """What was measured; null where nothing was."""

    tokens_per_second: float | None = None
    time_to_first_token_ms: float | None = None
    total_tokens: int | None = None
    """Tokens of the answer, counted by the engine."""
    memory_peak_mb: int | None = None
    duration_ms: int = 0


class EvidenceHost(WireModel, frozen=True, kw_only=True):
    """Where it was measured."""

    hostname: str
    os: str
    cpu: str
    gpu: str | None = None
    apr_version: str
    """The tool that wrote the record and its version, for example ``aprqa-ci/0.1.0``."""


def machine_of(host: EvidenceHost) -> str:
    """Return what kind of machine it is: figures of two machines of one kind can be compared."""
    return f"{host.cpu}; {host.gpu or 'no gpu'}"


class EvidenceRecord(WireModel, frozen=True, kw_only=True):
    """One outcome with all that is needed to judge it again."""

    id: str
    """32 hexadecimal digits, unique."""
    gate_id: str
    scenario: EvidenceScenario
    outcome: Outcome
    reason: str
    output: str
    stderr: str | None = None
    exit_code: int | None = None
    metrics: EvidenceMetrics
    timestamp: str
    """RFC 3339, UTC, ``Z``."""
    host: EvidenceHost
    metadata: dict[str, str] = msgspec.field(default_factory=dict)

    def meta(self, key: MetadataKey) -> str | None:
        """Return one of our metadata values, or nothing when a foreign tool wrote the record."""
        # A member of a StrEnum is its text, and asking for its value takes ten times as long.
        return self.metadata.get(key)

    def passed_over(self) -> tuple[PassedOverEngine, ...]:
        """Return the engines that were passed over; none where what is written is not that."""
        try:
            return msgspec.json.decode(
                self.meta(MetadataKey.ENGINE_PASSED_OVER) or "[]",
                type=tuple[PassedOverEngine, ...],
            )
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return ()


def model_id_of(model: EvidenceModel) -> str:
    """Return the repository id of the model in a record."""
    name = f"{model.org}/{model.name}"
    return f"{name}-{model.variant}" if model.variant else name
