"""Training that knows of quantization: weights rounded as q4_0 will round them."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["rounded_weights"]

_BLOCK = 32
_LEVELS = 16


def rounded_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights with every matrix rounded to q4_0.

    Gradients pass to the weights as if nothing had been rounded.
    """
    return {
        name: value + (_rounded(value.detach()) - value.detach()) if value.ndim == 2 else value
        for name, value in weights.items()
    }


def _rounded(matrix: Tensor) -> Tensor:
    """Round blocks of 32 neighbours to 16 steps; the largest value is the lowest step."""
    blocks = matrix.view(-1, _BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(dim=1, keepdim=True))
    step = largest / -(_LEVELS // 2)
    inverse = torch.where(step == 0, 0, 1 / step)
    levels = (blocks * inverse + (_LEVELS // 2) + 0.5).floor().clamp(0, _LEVELS - 1)
    # The file keeps the step in 16 bits, after the levels were chosen.
    return ((levels - _LEVELS // 2) * step.half().float()).view_as(matrix)
