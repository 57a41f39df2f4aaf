"""What the conformance suite finds, as data."""

from enum import StrEnum
from typing import Final, Literal

from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import WireModel

__all__ = ["CONFORMANCE_SCHEMA", "CheckResult", "CheckState", "ConformanceReport"]

CONFORMANCE_SCHEMA: Final = "aprqa-conformance/1"


class CheckState(StrEnum):
    """What became of one check."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not-applicable"
    """The engine does not promise it, or there is nothing that it could be held against."""
    NOT_TRIED = "not-tried"
    """It applies and could not be made here. What was not tested never passes."""


class CheckResult(WireModel, frozen=True, kw_only=True):
    """The outcome of one check."""

    check: str
    meaning: str
    state: CheckState
    reason: str
    duration_ms: float


class ConformanceReport(WireModel, frozen=True, kw_only=True):
    """How one engine did with one model on one backend."""

    schema: Literal["aprqa-conformance/1"] = CONFORMANCE_SCHEMA
    engine: str
    version: str
    model: str
    """The file, or the first of several."""
    format: ModelFormat
    quantization: str | None
    backend: Backend
    device: str
    """The device with its proof; empty when the model was not opened."""
    invocation: str
    results: tuple[CheckResult, ...]

    def of(self, state: CheckState) -> tuple[CheckResult, ...]:
        """Return the results in that state."""
        return tuple(result for result in self.results if result.state is state)

    @property
    def conforms(self) -> bool | None:
        """Whether the engine keeps its promises; nothing when some could not be tried."""
        if self.of(CheckState.FAILED):
            return False
        if self.of(CheckState.NOT_TRIED) or not self.of(CheckState.PASSED):
            return None
        return True
