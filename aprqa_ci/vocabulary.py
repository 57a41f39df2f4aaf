"""The fixed words of the field, spelled as the files spell them."""

from enum import StrEnum

__all__ = [
    "Backend",
    "Category",
    "FailurePolicy",
    "Gateway",
    "GatewayState",
    "Modality",
    "ModelFormat",
    "Outcome",
    "Severity",
    "SizeCategory",
    "Status",
]


class Modality(StrEnum):
    """How a model is asked."""

    RUN = "run"
    """One prompt, one answer."""
    CHAT = "chat"
    """A conversation whose history goes on."""
    SERVE = "serve"
    """Over HTTP, on a loopback socket."""


class Backend(StrEnum):
    """What computes the answer."""

    CPU = "cpu"
    GPU = "gpu"


class ModelFormat(StrEnum):
    """The file format of the weights."""

    SAFETENSORS = "safetensors"
    GGUF = "gguf"
    APR = "apr"


class SizeCategory(StrEnum):
    """Coarse model size, as models.csv has it."""

    TINY = "tiny"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"
    XLARGE = "xlarge"
    HUGE = "huge"


class FailurePolicy(StrEnum):
    """When a run stops early."""

    STOP_ON_FIRST = "stop_on_first"
    STOP_ON_P0 = "stop_on_p0"
    COLLECT_ALL = "collect_all"
    FAIL_FAST = "fail_fast"
    """Like ``stop_on_first``, and a diagnostic report is written."""


class Outcome(StrEnum):
    """What became of one scenario."""

    CORROBORATED = "Corroborated"
    FALSIFIED = "Falsified"
    SKIPPED = "Skipped"
    TIMEOUT = "Timeout"
    CRASHED = "Crashed"

    @property
    def is_failure(self) -> bool:
        """Whether the outcome speaks against the model. A skip speaks neither way."""
        return self is not Outcome.CORROBORATED and self is not Outcome.SKIPPED


class Severity(StrEnum):
    """How bad the failure of a gate is; P0 is the worst."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"


class Category(StrEnum):
    """The categories of the Model Qualification Score."""

    QUAL = "QUAL"
    PERF = "PERF"
    STAB = "STAB"
    COMP = "COMP"
    EDGE = "EDGE"
    REGR = "REGR"


class Gateway(StrEnum):
    """The five gateways; one failure zeroes the score."""

    G0 = "G0"
    G1 = "G1"
    G2 = "G2"
    G3 = "G3"
    G4 = "G4"


class GatewayState(StrEnum):
    """What the evidence says of a gateway."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_EVALUATED = "not_evaluated"


class Status(StrEnum):
    """The verdict of a certificate."""

    CERTIFIED = "CERTIFIED"
    PROVISIONAL = "PROVISIONAL"
    """Good as far as it goes, but the run could not certify (tier, narrowed, no plan)."""
    BLOCKED = "BLOCKED"
    INCONCLUSIVE = "INCONCLUSIVE"
    """Our machinery or the machine failed; no verdict on the model."""
