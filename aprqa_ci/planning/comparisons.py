"""What a playbook says of its comparisons between files, as the plan carries it."""

from aprqa_ci.wire import WireModel

__all__ = ["STATISTICS", "Comparisons"]

STATISTICS = ("mean", "std", "min", "max", "checksum")
"""The statistics that can be compared."""


class Comparisons(WireModel, frozen=True, kw_only=True):
    """The settings of ``differential_tests`` and ``contract_tests``."""

    tensors: tuple[str, ...] = ()
    """Parts of names of the tensors that ``tensor_diff`` compares; none: all."""
    fingerprint: tuple[str, ...] = ()
    """Parts of names of the tensors that ``fingerprint`` looks at; none: all."""
    statistics: tuple[str, ...] = STATISTICS
    """What ``fingerprint`` compares of each."""
    reference: str | None = None
    """The file of statistics that ``validate_stats`` compares with, relative to the working
    directory where it lies below it; absent: the ground truth."""
    layernorm: float = 0.001
    """How far mean and deviation of normalisation weights may be from the reference."""
    embedding: float = 0.1
    """The same of embeddings."""
    attention: float = 0.01
    """The same of attention weights."""
    prompt: str = "What is 2+2?"
    """What ``inference_compare`` asks."""
    max_tokens: int = 10
    """The most tokens of its answer."""
    logit_tolerance: float = 1e-5
    """The largest difference of a logit."""
