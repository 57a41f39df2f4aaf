"""What the cells of one run share on one machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

from aprqa_ci.execution.child import CellChild, Children
from aprqa_ci.execution.converters import APR_ENGINE
from aprqa_ci.execution.derived import CellResult
from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.model_library import ModelLibrary
from aprqa_ci.execution.quiet import Quiet
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.execution.stop_rule import StopRule
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.plan import Plan, PlannedCell
from aprqa_ci.redaction import Redaction

__all__ = ["Machine", "Observer", "RunEnvironment", "RunStoppedError"]


class RunStoppedError(Exception):
    """The run is being interrupted; nothing more is recorded."""


class Observer(Protocol):
    """Watches a run; called from several threads, one call at a time."""

    def cell_started(self, cell: PlannedCell, pending: int) -> None:
        """Take note that a cell starts with so many scenarios to run."""
        ...

    def scenario_finished(self, result: ScenarioResult) -> None:
        """Take note of a result, after it has been recorded."""
        ...

    def cell_finished(self, cell: PlannedCell) -> None:
        """Take note that all of a cell is recorded."""
        ...


@dataclass(frozen=True, kw_only=True)
class RunEnvironment:
    """What a run takes from the outside world."""

    environment: Mapping[str, str]
    home: Path
    root: Path
    """What relative paths of the plan start from."""
    now: Callable[[], datetime]
    workers: int = 1
    """Cells that run side by side."""
    threads: int = 1
    """Threads of each engine."""
    engine_options: EngineOptions = field(default_factory=dict)
    """What each engine is told on this machine, by its name."""
    machine: str = ""
    """What kind of machine this is, in the words of a baseline's ``machines``."""
    redaction: Redaction | None = None
    """Takes secrets that are no longer in ``environment`` out of what engines say."""


class Machine:
    """Children, models, quiet and stop rules of a run; safe for several threads."""

    def __init__(
        self,
        *,
        plan: Plan,
        environment: RunEnvironment,
        sink: Callable[[ScenarioResult], None],
        observer: Observer,
        done: Mapping[str, CellResult],
        digests: Callable[[str, str, Mapping[str, str]], None] | None,
    ) -> None:
        self.environment = environment
        self.limits = load_limits()
        self.quiet = Quiet()
        self.done = done
        self.playbooks = {playbook.name: playbook for playbook in plan.playbooks}
        self.library = ModelLibrary(
            environment=environment.environment,
            home=environment.home,
            root=environment.root,
            limits=self.limits,
            spawn=self.spawn,
            digests=digests and self._note_digests,
            asking=self.quiet.asking,
            apr=environment.engine_options.get(APR_ENGINE, {}),
        )
        self._take_digests = digests
        self._sink = sink
        self._observer = observer
        self._lock = Lock()
        self._interrupted = Event()
        self._failure: Exception | None = None
        self._children = Children()
        self._rules = {name: StopRule(each.failure_policy) for name, each in self.playbooks.items()}
        playbook_of = {cell.id: cell.playbook for cell in plan.cells}
        for result in done.values():
            playbook = playbook_of.get(result.scenario.partition("#")[0])
            if playbook is not None:
                severity = gate_catalogue()[result.gate_id].severity
                self._rules[playbook].observe(result.outcome, severity)

    @property
    def interrupted(self) -> bool:
        """Whether the run is being interrupted."""
        return self._interrupted.is_set()

    def interrupt(self) -> None:
        """End every child, and record nothing from now on."""
        self._interrupted.set()
        self._children.kill_all()

    def stopped(self, playbook: str) -> bool:
        """Say whether the playbook's failure policy has ended its run."""
        return self._rules[playbook].ended

    def spawn(self, secrets: tuple[str, ...] = ()) -> CellChild:
        """Start a child process, which sees these environment variables even if they are secret."""
        return CellChild(
            environment=self.environment.environment,
            threads=self.environment.threads,
            children=self._children,
            secrets=secrets,
            redaction=self.environment.redaction,
        )

    def record(self, result: ScenarioResult) -> None:
        """Hand a result on, then let policy and observer know of it.

        Raises:
            RunStoppedError: the run is being interrupted, and the result may be the doing of that;
                or it cannot be recorded or shown, which ends the run.
        """
        with self._lock:
            if self._interrupted.is_set():
                raise RunStoppedError
            try:
                self._sink(result)
                severity = gate_catalogue()[result.scenario.gate_id].severity
                self._rules[result.cell.playbook].observe(result.outcome, severity)
                self._observer.scenario_finished(result)
            except Exception as error:
                # Not the cell's affair: it would take this for a fault of its engine or files.
                self._failure = error
                self._interrupted.set()
                raise RunStoppedError from error

    def raise_failure(self) -> None:
        """Raise what kept a result from being recorded or shown, if anything did."""
        if self._failure is not None:
            raise self._failure

    def _note_digests(self, playbook: str, variant: str, found: Mapping[str, str]) -> None:
        assert self._take_digests is not None  # noqa: S101 - only handed out if there is one
        with self._lock:
            self._take_digests(playbook, variant, found)

    def started(self, cell: PlannedCell, pending: int) -> None:
        """Let the observer know that a cell starts."""
        with self._lock:
            self._observer.cell_started(cell, pending)

    def finished(self, cell: PlannedCell) -> None:
        """Let the observer know that a cell is done."""
        with self._lock:
            self._observer.cell_finished(cell)
