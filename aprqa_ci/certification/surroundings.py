"""The outside world of a certification: environment, machine, clock, processes."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from aprqa_ci import __version__
from aprqa_ci.evidence.building import host_of
from aprqa_ci.evidence.record import machine_of
from aprqa_ci.execution.engines.engine_options import EngineOptions, machine_options
from aprqa_ci.execution.fetching.manifest import Models
from aprqa_ci.execution.gpu_devices import run_command
from aprqa_ci.execution.host import HostDescription, describe_host
from aprqa_ci.execution.machine import RunEnvironment
from aprqa_ci.execution.preflight import PreflightWorld
from aprqa_ci.planning.plan import Plan
from aprqa_ci.redaction import Redaction
from aprqa_ci.vocabulary import SizeCategory

__all__ = ["Surroundings"]

_MAX_THREADS = 8


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The outside world; the defaults are this process's own."""

    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    home: Path = field(default_factory=Path.home)
    root: Path = field(default_factory=Path.cwd)
    """What relative paths in plans start from: the repository."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    run_command: Callable[[Sequence[str]], str | None] = run_command
    workers: int = 1
    processors: int = field(default_factory=lambda: os.cpu_count() or 1)
    told: EngineOptions = field(default_factory=dict)
    """What engines are told by hand; the file that the environment names comes before it."""
    redaction: Redaction | None = None
    """Takes out of texts what was secret in an environment that is no longer whole."""

    @property
    def engine_options(self) -> EngineOptions:
        """What each engine is told on this machine.

        Raises:
            InputError: the file that the environment names cannot be read.
        """
        return machine_options(self.environment, self.told)

    def run_environment(self, plan: Plan) -> RunEnvironment:
        """Return what execution needs of it; the processors are shared among the workers.

        A plan of tiny models alone gets one thread per engine: for them the waiting of threads for
        each other costs more than it gains, a hundredfold on a busy machine.
        """
        sizes = {playbook.model.size_category for playbook in plan.playbooks}
        threads = max(1, min(_MAX_THREADS, self.processors // max(1, self.workers)))
        return RunEnvironment(
            environment=self.environment,
            home=self.home,
            root=self.root,
            now=self.now,
            workers=self.workers,
            threads=1 if sizes == {SizeCategory.TINY} else threads,
            engine_options=self.engine_options,
            redaction=self.redaction,
        )

    def measuring_environment(self, plan: Plan, host: HostDescription) -> RunEnvironment:
        """Return the same with what kind of machine this is, which measurements depend on."""
        return replace(self.run_environment(plan), machine=machine_of(host_of(host, __version__)))

    def preflight_world(self, output: Path, models: Models | None = None) -> PreflightWorld:
        """Return what the checks before a shard need of it."""
        return PreflightWorld(
            environment=self.environment,
            home=self.home,
            root=self.root,
            run_command=self.run_command,
            output=output,
            models=models,
            engine_options=self.engine_options,
        )

    def host(self) -> HostDescription:
        """Describe this machine; commands are run for it, so a run asks once."""
        return describe_host(run=self.run_command)
