"""What a score shows beside its points: cells, throughput, coverage, pass rate."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.scoring.ledger import Ledger, cell_name
from aprqa_ci.scoring.score import (
    CellSummary,
    Coverage,
    PassRate,
    ScenarioScore,
    Tally,
    Throughput,
)
from aprqa_ci.scoring.wilson import wilson_interval
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome

__all__ = ["cell_summaries", "coverage_of", "pass_rate_of", "throughput_of"]

_THROUGHPUT_GATE = "F-PERF-TPS-001"


def pass_rate_of(tally: Tally) -> PassRate:
    """Return Corroborated / planned with its 95 % Wilson interval; 0 of nothing is 0."""
    low, high = wilson_interval(tally.corroborated, tally.planned)
    return PassRate(
        corroborated=tally.corroborated,
        planned=tally.planned,
        rate=tally.corroborated / tally.planned if tally.planned else 0.0,
        low=low,
        high=high,
    )


def coverage_of(scenarios: Sequence[ScenarioScore]) -> Coverage:
    """Return how much of what was planned the evidence speaks of."""
    missing = tuple(entry.scenario for entry in scenarios if entry.outcome is None)
    return Coverage(
        planned=len(scenarios),
        recorded=len(scenarios) - len(missing),
        missing=missing,
        skipped={
            entry.scenario: entry.cause for entry in scenarios if entry.outcome is Outcome.SKIPPED
        },
    )


def throughput_of(records: Iterable[EvidenceRecord]) -> tuple[Throughput, ...]:
    """Return the median measured throughput of each format on each backend."""
    measured: defaultdict[tuple[ModelFormat, Backend], list[float]] = defaultdict(list)
    for record in records:
        speed = _measured(record)
        if speed is not None:
            measured[record.scenario.format, record.scenario.backend].append(speed)
    return tuple(
        Throughput(
            format=format_,
            backend=backend,
            tokens_per_second=median(speeds),
            measurements=len(speeds),
        )
        for (format_, backend), speeds in sorted(measured.items())
    )


def cell_summaries(ledger: Ledger) -> dict[str, CellSummary]:
    """Return a summary of every cell, in plan order, else by name."""
    entries: defaultdict[str, list[ScenarioScore]] = defaultdict(list)
    for entry in ledger.scenarios:
        entries[entry.cell].append(entry)
    speeds: defaultdict[str, list[float]] = defaultdict(list)
    seen: dict[str, EvidenceRecord] = {}
    for record in ledger.records:
        name = cell_name(record)
        seen.setdefault(name, record)
        speed = _measured(record)
        if speed is not None:
            speeds[name].append(speed)
    if ledger.cells is not None:
        frames = [
            (cell.id, cell.modality, cell.backend, cell.format, cell.quantization)
            for cell in ledger.cells
        ]
    else:
        frames = [
            (
                name,
                record.scenario.modality,
                record.scenario.backend,
                record.scenario.format,
                record.meta(MetadataKey.QUANTIZATION),
            )
            for name, record in sorted(seen.items())
        ]
    return {
        name: CellSummary(
            id=name,
            modality=modality,
            backend=backend,
            format=format_,
            quantization=quantization,
            tally=Tally.of(entries[name]),
            corroborated=tuple(
                entry.scenario for entry in entries[name] if entry.outcome is Outcome.CORROBORATED
            ),
            failed=tuple(
                entry.scenario
                for entry in entries[name]
                if entry.outcome is not None and entry.outcome.is_failure
            ),
            tokens_per_second=median(speeds[name]) if speeds[name] else None,
        )
        for name, modality, backend, format_, quantization in frames
    }


def _measured(record: EvidenceRecord) -> float | None:
    return record.metrics.tokens_per_second if record.gate_id == _THROUGHPUT_GATE else None
