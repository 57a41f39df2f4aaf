"""What an engine measures of its own speed, for playbooks that ask for a profile.

It is held to the same limits beside our own measurement and never in its place: a figure of the
engine about itself can keep from passing, and lets nothing pass.
"""

from collections.abc import Callable
from functools import cache

from aprqa_ci.execution.apr_engine import APR_ENGINE
from aprqa_ci.execution.child import ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.machine import Machine
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Profiled, ProfileModel
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook
from aprqa_ci.vocabulary import Backend

__all__ = ["profiler"]


def profiler(
    machine: Machine, playbook: PlannedPlaybook, cell: PlannedCell, engine: str, model: ModelFiles
) -> Callable[[], Profiled | str | None]:
    """Return what asks a cell's engine for its own figures, once.

    What is returned gives the figures, or why there are none; nothing where nobody asks: the
    playbook profiles no such cells, the engine has no profile, or it would not be known what
    computes (a GPU).

    Args:
        machine: where the cell is run.
        playbook: its playbook.
        cell: the cell.
        engine: the name of its engine.
        model: its files.
    """
    formats = playbook.formats_profiled or (cell.format,)
    asked = playbook.profiled is True and cell.format in formats
    if engine != APR_ENGINE or not asked or cell.backend is not Backend.CPU:
        return lambda: None

    @cache
    def profile() -> Profiled | str:
        runs = playbook.warmup + playbook.measure
        seconds = machine.limits.load_seconds(cell.timeout_ms, model.size_bytes)
        request = ProfileModel(
            engine=engine,
            options=dict(machine.environment.engine_options.get(engine, {})),
            model=model,
            warmup=playbook.warmup,
            measure=playbook.measure,
        )
        try:
            with machine.quiet.timed(), machine.spawn() as child:
                reply = child.request(
                    request, timeout_s=seconds + cell.timeout_ms / 1000 * max(1, runs)
                )
        except (ChildTimeoutError, ChildDiedError) as error:
            return f"the profile of {engine}: {error}"
        if isinstance(reply, Profiled):
            return reply
        message = getattr(reply, "message", f"unexpected reply {type(reply).__name__}")
        return f"the profile of {engine}: {message}"

    return profile
