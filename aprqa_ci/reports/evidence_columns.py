"""The columns of evidence as a table: one row a record, nothing left out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.wire import canonical_json

__all__ = ["COLUMNS", "Column", "Kind"]

Kind = Literal["text", "integer", "number"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column."""

    name: str
    kind: Kind
    of: Callable[[EvidenceRecord], str | int | float | None]


def _text(name: str, of: Callable[[EvidenceRecord], str | None]) -> Column:
    return Column(name=name, kind="text", of=of)


def _integer(name: str, of: Callable[[EvidenceRecord], int | None]) -> Column:
    return Column(name=name, kind="integer", of=of)


def _number(name: str, of: Callable[[EvidenceRecord], float | None]) -> Column:
    return Column(name=name, kind="number", of=of)


COLUMNS: tuple[Column, ...] = (
    _text("id", lambda r: r.id),
    _text("gate_id", lambda r: r.gate_id),
    _text("outcome", lambda r: r.outcome.value),
    _text("reason", lambda r: r.reason),
    _text("cell", lambda r: r.meta(MetadataKey.CELL)),
    _text("scenario_id", lambda r: r.scenario.id),
    _text("model_org", lambda r: r.scenario.model.org),
    _text("model_name", lambda r: r.scenario.model.name),
    _text("model_variant", lambda r: r.scenario.model.variant),
    _text("modality", lambda r: r.scenario.modality.value),
    _text("backend", lambda r: r.scenario.backend.value),
    _text("format", lambda r: r.scenario.format.value),
    _text("quantization", lambda r: r.meta(MetadataKey.QUANTIZATION)),
    _text("cause", lambda r: r.meta(MetadataKey.CAUSE)),
    _text("prompt", lambda r: r.scenario.prompt),
    _number("temperature", lambda r: r.scenario.temperature),
    _integer("max_tokens", lambda r: r.scenario.max_tokens),
    _integer("seed", lambda r: r.scenario.seed),
    _text("trace_level", lambda r: r.scenario.trace_level),
    _text("oracle_type", lambda r: r.scenario.oracle_type),
    _text("output", lambda r: r.output),
    _text("stderr", lambda r: r.stderr),
    _integer("exit_code", lambda r: r.exit_code),
    _number("tokens_per_second", lambda r: r.metrics.tokens_per_second),
    _number("time_to_first_token_ms", lambda r: r.metrics.time_to_first_token_ms),
    _integer("total_tokens", lambda r: r.metrics.total_tokens),
    _integer("memory_peak_mb", lambda r: r.metrics.memory_peak_mb),
    _integer("duration_ms", lambda r: r.metrics.duration_ms),
    _text("timestamp", lambda r: r.timestamp),
    _text("hostname", lambda r: r.host.hostname),
    _text("os", lambda r: r.host.os),
    _text("cpu", lambda r: r.host.cpu),
    _text("gpu", lambda r: r.host.gpu),
    _text("apr_version", lambda r: r.host.apr_version),
    _text("metadata", lambda r: canonical_json(r.metadata).decode()),
)
"""In the order of the files; ``metadata`` is JSON."""
