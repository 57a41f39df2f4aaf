"""The way of one cell: inspect the files, load the model, run the scenarios, conclude.

Whatever goes wrong, each planned scenario of the cell ends in exactly one result. What is our own
or the machine's fault is a skip with that cause, never a verdict on the model.
"""

import traceback
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from aprqa_ci.execution.before import baseline_cell, like_before
from aprqa_ci.execution.cell_session import CellSession
from aprqa_ci.execution.checks.comparison import agreement_class
from aprqa_ci.execution.checks.files import FILE_GATES
from aprqa_ci.execution.child import ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.converters import APR_ENGINE
from aprqa_ci.execution.derived import CellResult, conclude_cell
from aprqa_ci.execution.engines.interface import (
    ConfigurableEngine,
    Engine,
    EngineAbsentError,
    UnknownArchitectureError,
)
from aprqa_ci.execution.engines.registry import describe, engine_for
from aprqa_ci.execution.file_comparisons import ComparedWith, FileComparisons, writable_cache
from aprqa_ci.execution.host import available_memory_mb
from aprqa_ci.execution.machine import Machine, RunStoppedError
from aprqa_ci.execution.model_files import ModelFiles, held_elsewhere
from aprqa_ci.execution.model_library import InspectionFailedError
from aprqa_ci.execution.own_profile import profiler
from aprqa_ci.execution.resolve import ModelNotFoundError
from aprqa_ci.execution.result import Cause, ModelSource, PassedOver, ScenarioResult
from aprqa_ci.execution.session_context import NOT_SHOWN, SessionContext
from aprqa_ci.execution.thresholds import load_thresholds
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.plan import PlannedCell, PlannedScenario
from aprqa_ci.vocabulary import Outcome

__all__ = ["CellRun"]

_STATES = {
    "corroborated": Outcome.CORROBORATED,
    "falsified": Outcome.FALSIFIED,
    "skipped": Outcome.SKIPPED,
}
_LOAD_GATE = "G1-LOAD"
_MAX_TRACE = 4000
_MAX_REASON = 500


class CellRun:
    """Runs what is pending of one cell."""

    def __init__(self, machine: Machine, cell: PlannedCell, scratch: Path) -> None:
        self._machine = machine
        self._cell = cell
        self._playbook = machine.playbooks[cell.playbook]
        self._scratch = scratch
        self._passed_over: list[PassedOver] = []
        self._died_closing = False
        self._results = {
            each.id: machine.done[each.id] for each in cell.scenarios if each.id in machine.done
        }

    def run(self) -> None:
        """Record a result for every pending scenario.

        Raises:
            RunStoppedError: the run is being interrupted.
        """
        try:
            self._inspect()
            self._ask()
        except RunStoppedError:
            raise
        except ModelNotFoundError as error:
            self._skip_rest("infrastructure", "model-not-found", str(error))
        except EngineAbsentError as error:
            self._skip_rest("infrastructure", "engine-missing", str(error))
        except MemoryError as error:
            self._skip_rest("infrastructure", "no-memory", str(error) or "out of memory")
        except OSError as error:
            self._skip_rest("infrastructure", "machine", str(error))
        except Exception as error:  # noqa: BLE001 - a fault of ours is never the model's
            self._skip_rest("infrastructure", "harness-error", _of_ours(error))
        self._conclude()

    def _pending(self, *made_by: str) -> list[PlannedScenario]:
        gates = gate_catalogue()
        return [
            each
            for each in self._cell.scenarios
            if each.id not in self._results and gates[each.gate_id].made_by in made_by
        ]

    def _emit(self, *, scenario: PlannedScenario, outcome: Outcome, **fields: Any) -> None:  # noqa: ANN401 - the fields of ScenarioResult, typed there
        result = ScenarioResult(
            cell=self._cell,
            scenario=scenario,
            outcome=outcome,
            finished_at=self._machine.environment.now(),
            source=self._source,
            **fields,
        )
        self._machine.record(result)
        self._results[scenario.id] = CellResult(
            scenario=scenario.id,
            gate_id=scenario.gate_id,
            outcome=outcome,
            kind=result.kind,
            crashed=outcome is Outcome.CRASHED,
            cause=str(result.cause or ""),
            tokens_per_second=result.metrics.tokens_per_second,
        )

    def _inspect(self) -> None:
        pending = self._pending("inspect")
        if not pending:
            return
        if self._machine.stopped(self._cell.playbook):
            self._skip(pending, "policy", "stopped", "the failure policy ended the run")
            return
        if self._held_elsewhere:
            what = "the engine asks a server: nobody showed that it holds these files"
            self._skip(pending, NOT_SHOWN.kind, NOT_SHOWN.word, what)
            return
        try:
            found = self._machine.library.inspection(
                self._playbook, self._cell.format, self._cell.quantization
            )
        except ModelNotFoundError as error:
            self._skip(pending, "infrastructure", "model-not-found", str(error))
            return
        except InspectionFailedError as error:
            self._skip(pending, "infrastructure", "inspection-failed", str(error))
            return
        by_gate = {finding.gate_id: finding for finding in found}
        for scenario in pending:
            finding = by_gate.get(scenario.gate_id)
            if finding is None:
                self._skip([scenario], "infrastructure", "not-inspected", "no finding was made")
                continue
            outcome = _STATES[finding.state]
            self._emit(
                scenario=scenario,
                outcome=outcome,
                reason=finding.reason,
                output=finding.details,
                cause=Cause(kind="infrastructure", word="not-judged")
                if outcome is Outcome.SKIPPED
                else None,
            )

    def _ask(self) -> None:
        pending = self._pending("prompt", "check")
        if not pending:
            return
        if self._machine.stopped(self._cell.playbook):
            self._skip_stopped()
            return
        # An engine that does not know the architecture that the files name has recorded nothing;
        # the next one has the cell then. Whatever else is wrong ends it.
        while True:
            context = self._context()
            try:
                self._ask_engine(context)
            except UnknownArchitectureError as error:
                self._pass_over(context, str(error))
            else:
                return

    def _pass_over(self, context: SessionContext, reason: str) -> None:
        info = describe(self._engine())
        self._passed_over.append(
            PassedOver(
                engine=context.engine,
                version=info.version or "unknown",
                reason=reason[:_MAX_REASON],
            )
        )

    def _ask_engine(self, context: SessionContext) -> None:
        pending = self._pending("prompt", "check")
        session = CellSession(context)
        try:
            load = next((each for each in pending if each.gate_id == _LOAD_GATE), None)
            if load is not None:
                session.load(load)
            loaded = [each for each in self._results.values() if each.gate_id == _LOAD_GATE]
            if any(
                each.outcome is not Outcome.CORROBORATED and each.cause != str(NOT_SHOWN)
                for each in loaded
            ):
                kind, _, word = (loaded[0].cause or "model:not-loaded").partition(":")
                self._skip_rest(kind, word, "the model was not loaded")
                return
            for scenario in self._pending("prompt", "check"):
                if self._machine.stopped(self._cell.playbook):
                    self._skip_stopped()
                    return
                self._one(session, scenario)
        finally:
            code = session.close()
            self._died_closing = code is not None and code < 0

    def _one(self, session: CellSession, scenario: PlannedScenario) -> None:
        try:
            session.run(scenario)
        except ChildTimeoutError as error:
            session.lose()
            self._emit(
                scenario=scenario,
                outcome=Outcome.TIMEOUT,
                reason=str(error),
                stderr=error.stderr,
                engine=session.engine_run(),
            )
        except ChildDiedError as error:
            session.lose()
            self._emit(
                scenario=scenario,
                outcome=Outcome.SKIPPED if error.out_of_memory else Outcome.CRASHED,
                reason=str(error),
                stderr=error.stderr,
                exit_code=error.returncode,
                cause=Cause(kind="infrastructure", word="no-memory")
                if error.out_of_memory
                else None,
                engine=session.engine_run(),
            )
        except (RunStoppedError, OSError, MemoryError, UnknownArchitectureError):
            raise
        except Exception as error:  # noqa: BLE001 - a check or an oracle of ours failed
            self._emit(
                scenario=scenario,
                outcome=Outcome.SKIPPED,
                reason=_of_ours(error),
                stderr=traceback.format_exc()[-_MAX_TRACE:],
                cause=Cause(kind="infrastructure", word="harness-error"),
                engine=session.engine_run(),
            )

    def _engine(self) -> Engine:
        """Return the engine of the cell, with what it is told on this machine.

        Raises:
            EngineAbsentError: none can run it here.
        """
        return engine_for(
            self._cell.format,
            self._cell.backend,
            asked=self._cell.engine,
            options=self._machine.environment.engine_options,
            passed_over={
                each.engine: f"was passed over: {each.reason}" for each in self._passed_over
            },
        )

    @cached_property
    def _source(self) -> ModelSource | None:
        """Where the files come from, if that is known of the files that are run."""
        if self._held_elsewhere:
            return None
        try:
            return self._machine.library.source(
                self._playbook, self._cell.format, self._cell.quantization
            )
        except (Exception, MemoryError):  # noqa: BLE001 - what fails here is the scenario's own cause, said there
            return None

    @cached_property
    def _held_elsewhere(self) -> bool:
        """Whether the cell is run on a model whose files nobody showed."""
        try:
            return not describe(self._engine()).needs_files
        except EngineAbsentError:
            return False

    def _context(self) -> SessionContext:
        machine, cell, playbook = self._machine, self._cell, self._playbook
        engine = self._engine()
        info = describe(engine)
        if info.needs_files:
            model = machine.library.files(playbook, cell.format, cell.quantization)
            self._require_memory(engine.name, model)
        else:
            model = held_elsewhere(cell.format, cell.quantization)
        secrets = engine.secrets() if isinstance(engine, ConfigurableEngine) else ()
        truth = machine.library.ground_truth_files(playbook)
        return SessionContext(
            playbook=playbook,
            cell=cell,
            limits=machine.limits,
            model=model,
            engine=engine.name,
            options=machine.environment.engine_options.get(engine.name, {}),
            passed_over=tuple(self._passed_over),
            start_seconds=info.start_seconds,
            ground_truth_files=truth,
            ground_truth=partial(machine.library.ground_truth_answers, playbook),
            spawn=partial(machine.spawn, secrets),
            emit=self._emit,
            asking=machine.quiet.asking,
            timed=machine.quiet.timed,
            scratch=self._scratch,
            environment=machine.environment.environment,
            apr=machine.environment.engine_options.get(APR_ENGINE, {}),
            profile=profiler(machine, playbook, cell, engine.name, model),
            files=self._compared_files(model, None if truth == model else truth),
        )

    def _compared_files(self, model: ModelFiles, truth: ModelFiles | None) -> FileComparisons:
        machine, playbook = self._machine, self._playbook
        kind = agreement_class(self._cell.quantization)
        return FileComparisons(
            model,
            tuple(each.gate_id for each in self._cell.scenarios if each.gate_id in FILE_GATES),
            ComparedWith(
                truth=truth,
                settings=playbook.comparisons or Comparisons(),
                weight_error=machine.limits.classes[kind].weight_error,
                root=machine.environment.root,
                cache=writable_cache(machine.library.cache, self._scratch),
                apr=machine.environment.engine_options.get(APR_ENGINE, {}),
            ),
            limits=machine.limits,
            spawn=machine.spawn,
            asking=machine.quiet.asking,
            answers=machine.library.answers,
            note=partial(machine.library.note_derived, playbook),
        )

    def _require_memory(self, engine: str, model: ModelFiles) -> None:
        needed = self._machine.limits.memory_needed_mb(engine, model.size_bytes)
        free = available_memory_mb()
        if needed > free > 0:
            what = f"engine {engine} needs about {needed} MiB for this model; {free} MiB are free"
            raise MemoryError(what)

    def _skip(self, scenarios: list[PlannedScenario], kind: str, word: str, reason: str) -> None:
        for scenario in scenarios:
            self._emit(
                scenario=scenario,
                outcome=Outcome.SKIPPED,
                reason=reason,
                cause=Cause(kind=kind, word=word),
            )

    def _skip_rest(self, kind: str, word: str, reason: str) -> None:
        self._skip(self._pending("inspect", "prompt", "check"), kind, word, reason)

    def _skip_stopped(self) -> None:
        self._skip_rest("policy", "stopped", "the failure policy ended the run")

    def _conclude(self) -> None:
        pending = {each.id: each for each in self._pending("derived")}
        machine = self._machine.environment.machine
        findings = conclude_cell(
            self._cell,
            tuple(
                result
                for result in self._results.values()
                if gate_catalogue()[result.gate_id].made_by != "derived"
            ),
            baseline_cell(self._playbook, self._cell.id, machine),
            load_thresholds(),
            died_closing=self._died_closing,
            like_before=like_before(self._playbook, machine, self._engine),
        )
        for finding in findings:
            scenario = pending.get(finding.scenario)
            if scenario is None:
                continue
            kind, _, word = finding.cause.partition(":")
            self._emit(
                scenario=scenario,
                outcome=finding.outcome,
                reason=finding.reason,
                cause=Cause(kind=kind, word=word) if finding.cause else None,
            )


def _of_ours(error: Exception) -> str:
    return f"our own code failed: {type(error).__name__}: {error}"
