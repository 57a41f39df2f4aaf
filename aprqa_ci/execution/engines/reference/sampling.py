"""Choosing the next token from its logits."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.engines.interface import Sampling

__all__ = ["token_chooser"]


def token_chooser(sampling: Sampling) -> Callable[[npt.NDArray[np.float32]], int]:
    """Return what chooses an answer's tokens, one after the other, from logits (vocabulary,).

    Temperature 0 takes the most likely one, the lowest id among equals, and token 0 where the
    logits are NaN; the garbage that comes of that is for the oracles to find. Above 0 it draws
    from softmax(logits / temperature), by a generator with the given seed.
    """
    if sampling.temperature <= 0:
        return lambda logits: int(logits.argmax())
    # Any whole number is a seed; the generator takes none below 0.
    generator = np.random.default_rng(sampling.seed & ((1 << 64) - 1))

    def draw(logits: npt.NDArray[np.float32]) -> int:
        with np.errstate(all="ignore"):
            scaled = (logits.astype(np.float64) - logits.max()) / sampling.temperature
            bounds = np.cumsum(np.exp(scaled))
        if not np.isfinite(bounds[-1]):
            return int(logits.argmax())
        chosen = np.searchsorted(bounds, generator.random() * bounds[-1], side="right")
        return min(int(chosen), len(bounds) - 1)

    return draw
