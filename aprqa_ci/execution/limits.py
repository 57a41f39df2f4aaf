"""The limits that the checks of a cell compare with, from ``data/limits.yaml``."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = ["ClassLimits", "Limits", "load_limits"]

_GIB = 1 << 30


class ClassLimits(WireModel, frozen=True, kw_only=True):
    """How far a quantization of one class may be from the ground truth."""

    agreement: float
    """Least mean similarity of greedy answers, 0 to 1."""
    weight_error: float
    """Most relative root-mean-square error of any tensor."""


class Limits(WireModel, frozen=True, kw_only=True):
    """See the comments of the data file."""

    schema: Literal["aprqa-limits/1"]
    repeat_times: int
    repeat_temperature: float
    repeat_open_question: str
    repeat_open_tokens: int
    open_texts: tuple[str, ...]
    open_tokens: int
    open_differing: int
    memory_rounds: int
    memory_growth_mb: int
    memory_growth_share: float
    speed_rounds: int
    stall_factor: float
    stall_prompt_factor: float
    stalls_allowed: int
    clients: int
    process_losses: int
    load_seconds_per_gib: float
    inspect_seconds: float
    inspect_seconds_per_gib: float
    compare_factor: float
    convert_memory_factor: float
    memory_factor: dict[str, float]
    memory_factor_default: float
    classes: dict[str, ClassLimits]
    excess_worst: float
    excess_typical: float

    def load_seconds(self, timeout_ms: int, size_bytes: int) -> float:
        """Return how long loading may take."""
        return timeout_ms / 1000 + self.load_seconds_per_gib * size_bytes / _GIB

    def inspection_seconds(self, size_bytes: int) -> float:
        """Return how long reading and scanning the files may take."""
        return self.inspect_seconds + self.inspect_seconds_per_gib * size_bytes / _GIB

    def comparison_seconds(self, size_bytes: int) -> float:
        """Return how long converting files or comparing them tensor by tensor may take."""
        return self.compare_factor * self.inspection_seconds(size_bytes)

    def memory_needed_mb(self, engine: str, size_bytes: int) -> int:
        """Return the memory that must be free before the engine is started."""
        factor = self.memory_factor.get(engine, self.memory_factor_default)
        return int(size_bytes * factor) >> 20


@cache
def load_limits() -> Limits:
    """Return the limits of this installation."""
    return load_data("limits.yaml", Limits)
