"""Muon for the matrices inside the layers, AdamW for the rest."""

from collections import defaultdict

import torch
from torch import Tensor

__all__ = ["Optimizer"]

_MOMENTUM = 0.95
_DECAY = 0.01
_ITERATION = (3.4445, -4.7750, 2.0315)
"""Newton-Schulz coefficients of Muon (Keller Jordan, 2024)."""


class Optimizer:
    """Both optimisers behind one step.

    Muon replaces the momentum of a matrix by the nearest orthogonal one. It needs about half the
    steps of AdamW here; matrices of one shape are worked on together, which keeps it cheap.
    """

    def __init__(self, weights: dict[str, Tensor], *, rate: float, matrix_rate: float) -> None:
        inside = {name for name, value in weights.items() if value.ndim == 2 and ".layers." in name}
        rest = [value for name, value in weights.items() if name not in inside]
        self._rate = rate
        self._matrix_rate = matrix_rate
        self._adam = torch.optim.AdamW(rest, lr=rate, betas=(0.9, 0.98), weight_decay=_DECAY)
        groups = defaultdict(list)
        for name in inside:
            groups[tuple(weights[name].shape)].append(name)
        self._groups = [
            [weights[name] for name in sorted(names)] for _, names in sorted(groups.items())
        ]
        self._momenta = [torch.zeros(len(group), *group[0].shape) for group in self._groups]

    def step(self, factor: float) -> None:
        """Apply the gradients and clear them.

        Args:
            factor: what the learning rates are multiplied by at this step.
        """
        for group in self._adam.param_groups:
            group["lr"] = self._rate * factor
        self._adam.step()
        self._adam.zero_grad()
        rate = self._matrix_rate * factor
        with torch.no_grad():
            for values, momentum in zip(self._groups, self._momenta, strict=True):
                gradient = torch.stack([value.grad for value in values])
                momentum.lerp_(gradient, 1 - _MOMENTUM)
                update = _orthogonal(gradient.lerp(momentum, _MOMENTUM))
                rows, columns = update.shape[-2:]
                for value, change in zip(values, update, strict=True):
                    value.mul_(1 - _DECAY * rate)
                    value.add_(change, alpha=-rate * max(1, rows / columns) ** 0.5)
                    value.grad = None


def _orthogonal(matrices: Tensor) -> Tensor:
    """Return the orthogonal matrices nearest to a stack of matrices, roughly."""
    first, second, third = _ITERATION
    tall = matrices.shape[-2] > matrices.shape[-1]
    value = matrices.mT if tall else matrices
    value = value / (value.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = value @ value.mT
        value = first * value + (second * square + third * square @ square) @ value
    return value.mT if tall else value
