"""Whether a quantized tensor is as near to its source as its type allows.

The limit of a class of quantizations has room for the crudest tensor of the crudest model. A tensor
whose source is at hand can be held against more: the error that quantizing that source anew makes.
A wrong scale, or weights that were quantized twice, are within the class and beyond that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.gguf_writing import quantized_and_back

__all__ = ["NO_EXCESS", "Excess", "TensorExcess", "excess_error", "excess_of"]

_Floats = npt.NDArray[np.float32]
_MOST_VALUES = 1 << 20
"""Of a larger tensor so many are looked at, in rows from all over it."""
_NEGLIGIBLE = 1e-4
"""A source that its quantization holds exactly, but for rounding, gives nothing to divide by."""


@dataclass(frozen=True, kw_only=True)
class TensorExcess:
    """One tensor's error as a multiple of the error that quantizing its source anew makes."""

    tensor: str
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Excess:
    """All tensors of a file together."""

    tensors: int
    """How many were looked at; the others are of types that are not written here."""
    worst: TensorExcess | None = None
    typical: float | None = None
    """The median ratio."""


NO_EXCESS = Excess(tensors=0)


def excess_error(ours: _Floats, source: _Floats, type_name: str) -> float | None:
    """Return the error of a tensor over that of quantizing its source anew.

    Args:
        ours: the tensor's values as they are read.
        source: what it was made of, in the same shape.
        type_name: the tensor's storage type, ``Q4_0``.

    Returns:
        1 for what our own quantizer writes, more for a cruder tensor. Nothing where the type is not
        written here, or the tensor is no matrix of that shape, or there is nothing to compare with.
    """
    if source.ndim != 2 or ours.shape != source.shape:
        return None
    step = max(1, -(-source.size // _MOST_VALUES))
    source, ours = source[::step], ours[::step]
    fresh = quantized_and_back(source, type_name)
    if fresh is None:
        return None
    scale = _root_mean_square(source)
    best, found = _root_mean_square(fresh - source), _root_mean_square(ours - source)
    if not np.isfinite([scale, best, found]).all() or best <= _NEGLIGIBLE * scale:
        return None
    return found / best


def excess_of(tensors: Sequence[TensorExcess]) -> Excess:
    """Return what several tensors come to."""
    if not tensors:
        return NO_EXCESS
    return Excess(
        tensors=len(tensors),
        worst=max(tensors, key=lambda each: each.ratio),
        typical=median(each.ratio for each in tensors),
    )


def _root_mean_square(values: _Floats) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
