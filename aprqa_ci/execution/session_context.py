"""What a session on a cell needs from its surroundings."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from aprqa_ci.execution.checks.open_cell import ComparedFiles
from aprqa_ci.execution.child import CellChild
from aprqa_ci.execution.engines.interface import OptionValue
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Profiled
from aprqa_ci.execution.result import Cause, PassedOver
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook

__all__ = ["NOT_SHOWN", "SessionContext"]

NOT_SHOWN = Cause(kind="infrastructure", word="not-shown")
"""Why a gate is not judged whose subject an engine cannot show: a server's files and device."""


@dataclass(frozen=True, kw_only=True)
class SessionContext:
    """What a cell needs from its surroundings; all of it can be replaced in a test."""

    playbook: PlannedPlaybook
    cell: PlannedCell
    limits: Limits
    model: ModelFiles
    engine: str
    options: Mapping[str, OptionValue]
    """What the engine is told on this machine."""
    passed_over: tuple[PassedOver, ...]
    """The engines that came before this one and do not know the model's architecture."""
    start_seconds: float
    """How long the engine may take to start, beyond loading."""
    ground_truth_files: ModelFiles | None
    ground_truth: Callable[[], tuple[str, ...] | str]
    """The ground truth's answers to the probe prompts, or why there are none."""
    spawn: Callable[[], CellChild]
    emit: Callable[..., None]
    """Takes the fields of a ScenarioResult, except the cell and the time."""
    asking: Callable[[], AbstractContextManager[object]]
    """Held while a question is asked, shared with the other cells."""
    timed: Callable[[], AbstractContextManager[object]]
    """Held while answers are timed, alone on this machine."""
    scratch: Path
    files: ComparedFiles
    """What the cell's files are compared with."""
    apr: Mapping[str, OptionValue] = field(default_factory=dict)
    """What the converter of APR files is told on this machine."""
    profile: Callable[[], Profiled | str | None] = lambda: None
    """What the engine measures of its own speed, or why it gives none; nothing if nobody asks."""
    environment: Mapping[str, str] = field(default_factory=dict)
