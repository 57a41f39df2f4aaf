"""The facts of ``data/facts.yaml``, read from evidence records and the plan alone.

Whoever has evidence and plan can read the same facts, so a verdict made of them can be checked.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

import msgspec

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.planning.falsification import static_fact
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook, PlannedScenario
from aprqa_ci.playbook.conditions.evaluation import Answers, Inapplicable, Missing, Value
from aprqa_ci.scoring.agreement import answers_of
from aprqa_ci.scoring.answer_judging import AnswerJudge
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, Outcome

__all__ = ["CELL_FACTS", "RUN_FACTS", "SCENARIO_FACTS", "CellView", "RunView", "ScenarioView"]

_PANIC_EXIT = 101
"""The exit code of a Rust program that panicked."""
_SHOWN_WORKING = ("G1-LOAD", "G2-BASIC", "G4-GARBAGE")


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run: its plan, and of each planned scenario the record that counts."""

    playbook: PlannedPlaybook
    cells: Sequence[PlannedCell]
    records: Mapping[str, EvidenceRecord]
    """By scenario id."""

    @cached_property
    def judge(self) -> AnswerJudge:
        """What judges answers again, with the playbook's settings of oracles."""
        return AnswerJudge(self.playbook.oracles)

    @cached_property
    def views(self) -> tuple["CellView", ...]:
        """The cells, in plan order."""
        return tuple(CellView(run=self, cell=cell) for cell in self.cells)


@dataclass(frozen=True, kw_only=True)
class CellView:
    """One cell of a run."""

    run: RunView
    cell: PlannedCell

    def planned(self, gate_id: str) -> list[PlannedScenario]:
        """Return the cell's scenarios of that gate."""
        return [each for each in self.cell.scenarios if each.gate_id == gate_id]

    def record(self, gate_id: str) -> EvidenceRecord | Missing | Inapplicable:
        """Return the record of a check that ended; a cell without the check is not meant."""
        planned = self.planned(gate_id)
        if not planned:
            return Inapplicable()
        record = self.run.records.get(planned[0].id)
        if record is None or record.outcome is Outcome.SKIPPED:
            return Missing(what=planned[0].id)
        return record

    def prompts(self) -> Iterator["ScenarioView"]:
        """Return the prompts of the cell, in plan order."""
        for scenario in self.cell.scenarios:
            if scenario.prompt is not None:
                yield ScenarioView(
                    cell=self, scenario=scenario, record=self.run.records.get(scenario.id)
                )


@dataclass(frozen=True, kw_only=True)
class ScenarioView:
    """One prompt of a cell."""

    cell: CellView
    scenario: PlannedScenario
    record: EvidenceRecord | None

    @property
    def tried(self) -> bool:
        """Whether the prompt was put to the model; an answer that no oracle judges was."""
        record = self.record
        return record is not None and (
            record.outcome is not Outcome.SKIPPED
            or record.meta(MetadataKey.CAUSE) == "policy:no-oracle-applies"
        )


def _of_record(read: Callable[[EvidenceRecord], Value | None]) -> Callable[[ScenarioView], Value]:
    def fact(view: ScenarioView) -> Value:
        value = read(view.record) if view.record is not None and view.tried else None
        return Missing(what=view.scenario.id) if value is None else value

    return fact


def _of_answer(judge: Callable[[ScenarioView, str], Value]) -> Callable[[ScenarioView], Value]:
    def fact(view: ScenarioView) -> Value:
        if view.record is None or not view.tried:
            return Missing(what=view.scenario.id)
        return judge(view, view.record.output)

    return fact


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _failed_to_answer(record: EvidenceRecord) -> bool:
    kind = record.meta(MetadataKey.KIND)
    return record.outcome in {Outcome.CRASHED, Outcome.TIMEOUT} or kind == "engine-error"


def _panicked(record: EvidenceRecord) -> bool:
    return record.exit_code == _PANIC_EXIT or "panicked at" in (record.stderr or "")


def _case(view: ScenarioView) -> Any:  # noqa: ANN401 - narrowed by the callers, who know prompts
    return view.scenario.prompt


SCENARIO_FACTS: Mapping[str, Callable[[ScenarioView], Value]] = {
    "prompt": lambda view: str(_case(view).turns[-1]),
    "output": _of_record(lambda record: record.output),
    "stdout": _of_record(lambda record: record.output),
    "stderr": _of_record(lambda record: record.stderr or ""),
    "exit_code": _of_record(lambda record: _number(record.exit_code)),
    "error": _of_record(_failed_to_answer),
    "crash": _of_record(lambda record: record.outcome is Outcome.CRASHED),
    "timeout": _of_record(lambda record: record.outcome is Outcome.TIMEOUT),
    "panic": _of_record(_panicked),
    "has_output": _of_record(lambda record: bool(record.output.strip())),
    "valid_output": _of_answer(lambda view, text: not view.cell.run.judge.is_garbage(text)),
    "correct": _of_record(
        lambda record: (
            None if record.outcome is Outcome.SKIPPED else record.outcome is Outcome.CORROBORATED
        )
    ),
    "arithmetic_passes": _of_answer(
        lambda view, text: view.cell.run.judge.accepts("arithmetic", _case(view), text)
    ),
    "code_passes": _of_answer(
        lambda view, text: view.cell.run.judge.accepts("code_syntax", _case(view), text)
    ),
    "relevance_score": _of_answer(
        lambda view, text: view.cell.run.judge.relevance(_case(view).turns[-1], text)
    ),
    "output_tokens": _of_record(lambda record: _number(record.metrics.total_tokens)),
    "max_tokens": lambda view: float(_case(view).max_tokens),
    "duration_ms": _of_record(lambda record: float(record.metrics.duration_ms)),
}
"""By name; each is asked of one prompt."""


def _of_check(
    gate_id: str, read: Callable[[EvidenceRecord], Value | None]
) -> Callable[[CellView], Value]:
    def fact(view: CellView) -> Value:
        record = view.record(gate_id)
        if not isinstance(record, EvidenceRecord):
            return record
        value = read(record)
        return Missing(what=f"{gate_id} of {view.cell.id}") if value is None else value

    return fact


def _figure(name: str) -> Callable[[EvidenceRecord], Value | None]:
    def read(record: EvidenceRecord) -> Value | None:
        value = _figures(record).get(name)
        return _number(value) if isinstance(value, int | float) else None

    return read


def _figures(record: EvidenceRecord) -> Mapping[str, Any]:
    """Return what a check wrote down; a record that holds something else holds no figures."""
    try:
        figures = msgspec.json.decode(record.output)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return figures if isinstance(figures, dict) else {}


def _memory_growth(record: EvidenceRecord) -> Value | None:
    levels = _figures(record).get("resident_mb")
    if not isinstance(levels, list) or len(levels) < 2 or not _numbers(levels) or not levels[0]:
        return None
    return float((levels[-1] - levels[0]) / levels[0])


def _clients_answered(record: EvidenceRecord) -> Value | None:
    together = _figures(record).get("together")
    if not isinstance(together, list) or not together:
        return None
    return sum(bool(str(text).strip()) for text in together) / len(together)


def _numbers(values: Sequence[object]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _corroborated(record: EvidenceRecord) -> bool:
    return record.outcome is Outcome.CORROBORATED


def _baseline_tps(view: CellView) -> Value:
    baseline = view.run.playbook.baseline
    cell = None if baseline is None else baseline.cells.get(view.cell.id)
    if cell is None or cell.tokens_per_second is None:
        return Missing(what=f"an accepted throughput of {view.cell.id}")
    return cell.tokens_per_second


def _completions_valid(view: CellView) -> Value:
    if view.cell.modality is not Modality.SERVE:
        return Inapplicable()
    record = view.record("G2-BASIC")
    return _corroborated(record) if isinstance(record, EvidenceRecord) else record


def _static(name: str) -> Callable[[CellView], Value]:
    return lambda view: static_fact(view.cell, name) or Missing(what=name)


_tps = _of_check("F-PERF-TPS-001", lambda record: _number(record.metrics.tokens_per_second))
_repeats = _of_check("F-STAB-REPEAT-001", _corroborated)

CELL_FACTS: Mapping[str, Callable[[CellView], Value]] = {
    "modality": _static("modality"),
    "backend": _static("backend"),
    "format": _static("format"),
    "quantization": _static("quantization"),
    "loaded": _of_check("G1-LOAD", _corroborated),
    "load_error": _of_check("G1-LOAD", lambda record: record.outcome.is_failure),
    "stable": _of_check("G3-STABLE", _corroborated),
    "reproducible": _repeats,
    "deterministic": _repeats,
    "tps": _tps,
    "current_tps": _tps,
    "baseline_tps": _baseline_tps,
    "ttft": _of_check(
        "F-PERF-TTFT-001", lambda record: _number(record.metrics.time_to_first_token_ms)
    ),
    "p50_ms": _of_check("F-PERF-P50-001", _figure("p50")),
    "p99_ms": _of_check("F-PERF-P99-001", _figure("p99")),
    "memory_growth_rate": _of_check("F-STAB-MEMORY-001", _memory_growth),
    "health_check": _of_check("F-STAB-HEALTH-001", _figure("status")),
    "completions_valid_json": _completions_valid,
    "concurrent_success_rate": _of_check("F-STAB-CLIENTS-001", _clients_answered),
}
"""By name; each is asked of one cell."""


def _median_tps(backend: Backend) -> Callable[[RunView], Value]:
    def fact(view: RunView) -> Value:
        rates = [
            rate
            for each in view.views
            if each.cell.backend is backend and isinstance(rate := _tps(each), float)
        ]
        return median(rates) if rates else Missing(what=f"a throughput on {backend}")

    return fact


def _all_pass(chosen: Callable[[PlannedCell], bool]) -> Callable[[RunView], Value]:
    def fact(view: RunView) -> Value:
        found = [
            each.record(gate) for each in view.views if chosen(each.cell) for gate in _SHOWN_WORKING
        ]
        return _all(found)

    return fact


def _unicode(view: RunView) -> Value:
    found: list[EvidenceRecord | Missing | Inapplicable] = []
    for cell in view.cells:
        for scenario in cell.scenarios:
            if scenario.gate_id == "F-EDGE-UNICODE-001":
                record = view.records.get(scenario.id)
                tried = record is not None and record.outcome is not Outcome.SKIPPED
                found.append(record if record and tried else Missing(what=scenario.id))
    return _all(found)


def _all(found: Sequence[EvidenceRecord | Missing | Inapplicable]) -> Value:
    """Say whether all are Corroborated; of none, that is not known."""
    records = [each for each in found if isinstance(each, EvidenceRecord)]
    if not all(map(_corroborated, records)):
        return False
    missing = next((each for each in found if isinstance(each, Missing)), None)
    return missing or (True if records else Missing(what="a record to judge by"))


def _answers(
    of_backend: Backend | None, of_format: ModelFormat | None
) -> Callable[[RunView], Value]:
    def fact(view: RunView) -> Value:
        found = []
        for each in view.views:
            record = each.record("F-COMP-AGREE-001")
            if isinstance(record, EvidenceRecord):
                found += answers_of(
                    each.cell,
                    _figures(record),
                    view.playbook.ground_truth,
                    of_backend=of_backend,
                    of_format=of_format,
                )
        return Answers(cells=tuple(found)) if found else Missing(what="answers to probe prompts")

    return fact


RUN_FACTS: Mapping[str, Callable[[RunView], Value]] = {
    "cpu_tps": _median_tps(Backend.CPU),
    "gpu_tps": _median_tps(Backend.GPU),
    "all_formats_pass": _all_pass(lambda cell: True),  # noqa: ARG005 - every cell is meant
    "all_quants_pass": _all_pass(lambda cell: cell.quantization is not None),
    "unicode_output_valid": _unicode,
    "cpu_output": _answers(Backend.CPU, None),
    "gpu_output": _answers(Backend.GPU, None),
    "safetensors_output": _answers(None, ModelFormat.SAFETENSORS),
    "gguf_output": _answers(None, ModelFormat.GGUF),
    "apr_output": _answers(None, ModelFormat.APR),
}
"""By name; each is asked of all cells together."""
