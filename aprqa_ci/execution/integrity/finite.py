"""Looking for NaN, infinity and nothing at all in stored tensors, without widening them.

Every floating-point type has its NaN and infinities where the bits of a mask are all set. A block
of a quantized type has whole numbers, which are always finite, and scales; a value of it is not
finite exactly where a scale is not. So the scales are enough, and the file is read in pieces.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.ggml_types import GGML_TYPES
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError

__all__ = ["count_non_finite", "is_zero"]

_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True, kw_only=True)
class _Floats:
    """The floating-point numbers in one element or block: where they are and what they are."""

    dtype: str
    """The unsigned integer of the same width."""
    mask: int
    offsets: tuple[int, ...] = (0,)
    """Where they begin, in bytes from the start of the element or block."""
    unit: int | None = None
    """Bytes of an element; of a block type the table of types says it."""


def _halves(*offsets: int) -> _Floats:
    return _Floats(dtype="<u2", mask=0x7C00, offsets=offsets)


_PLAIN: Mapping[str, _Floats] = {
    "F64": _Floats(dtype="<u8", mask=0x7FF0_0000_0000_0000, unit=8),
    "F32": _Floats(dtype="<u4", mask=0x7F80_0000, unit=4),
    "F16": _Floats(dtype="<u2", mask=0x7C00, unit=2),
    "BF16": _Floats(dtype="<u2", mask=0x7F80, unit=2),
    "C64": _Floats(dtype="<u4", mask=0x7F80_0000, unit=8, offsets=(0, 4)),
    "F8_E5M2": _Floats(dtype="u1", mask=0x7C, unit=1),
    "F8_E4M3": _Floats(dtype="u1", mask=0x7F, unit=1),
    "F8_E8M0": _Floats(dtype="u1", mask=0xFF, unit=1),
}

_ALWAYS_FINITE = frozenset(
    {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F4", "F6_E2M3", "F6_E3M2"}
)

# The offsets of the scales in each block, from ggml-common.h.
_BLOCKS: Mapping[str, _Floats] = {
    "Q4_0": _halves(0),
    "Q4_1": _halves(0, 2),
    "Q5_0": _halves(0),
    "Q5_1": _halves(0, 2),
    "Q8_0": _halves(0),
    "Q8_1": _halves(0, 2),
    "Q2_K": _halves(80, 82),
    "Q3_K": _halves(108),
    "Q4_K": _halves(0, 2),
    "Q5_K": _halves(0, 2),
    "Q6_K": _halves(208),
    "Q8_K": _Floats(dtype="<u4", mask=0x7F80_0000),
    "IQ2_XXS": _halves(0),
    "IQ2_XS": _halves(0),
    "IQ2_S": _halves(0),
    "IQ3_XXS": _halves(0),
    "IQ3_S": _halves(0),
    "IQ1_S": _halves(0),
    "IQ4_NL": _halves(0),
    "IQ4_XS": _halves(0),
    "TQ1_0": _halves(52),
    "TQ2_0": _halves(64),
    "MXFP4": _Floats(dtype="u1", mask=0xFF),
}
_BLOCK_BYTES = {kind.name: kind.block_bytes for kind in GGML_TYPES.values()}


def count_non_finite(tensor: TensorInfo) -> int:
    """Return how many numbers of a tensor are NaN or infinite; in blocks, how many scales are.

    Reads the file in pieces of a few MiB, whatever the size of the tensor.

    Raises:
        FormatError: the file ends before the tensor does.
        UnsupportedFormatError: it is not known here where this type keeps its scales.
        OSError: the file cannot be read.
    """
    if tensor.dtype in _ALWAYS_FINITE:
        return 0
    floats = _floats_of(tensor)
    return sum(_count(units, floats) for units in _pieces(tensor, floats))


def is_zero(tensor: TensorInfo) -> bool:
    """Say whether every number of a tensor is zero; in blocks, whether every scale is.

    The first number that is not ends the reading. Of types without floating-point numbers nothing
    is said.

    Raises:
        FormatError: the file ends before the tensor does.
        UnsupportedFormatError: it is not known here where this type keeps its scales.
        OSError: the file cannot be read.
    """
    if tensor.dtype in _ALWAYS_FINITE or tensor.nbytes == 0:
        return False
    floats = _floats_of(tensor)
    return not any(_numbers(units, floats).any() for units in _pieces(tensor, floats))


_Units = np.ndarray[tuple[int, int], np.dtype[np.uint8]]


def _floats_of(tensor: TensorInfo) -> _Floats:
    floats = _PLAIN.get(tensor.dtype) or _BLOCKS.get(tensor.dtype)
    if floats is None:
        what = f"tensor {tensor.name!r}: the scales of {tensor.dtype} are not known here"
        raise UnsupportedFormatError(tensor.file, what)
    return floats


def _pieces(tensor: TensorInfo, floats: _Floats) -> Iterator[_Units]:
    """Read a tensor in pieces, a row for each element or block."""
    unit = floats.unit or _BLOCK_BYTES[tensor.dtype]
    step = _CHUNK_BYTES // unit * unit
    with tensor.file.open("rb") as stream:
        stream.seek(tensor.offset)
        for start in range(0, tensor.nbytes, step):
            size = min(step, tensor.nbytes - start)
            data = stream.read(size)
            if len(data) < size:
                raise FormatError(tensor.file, f"ends within tensor {tensor.name!r}")
            yield np.frombuffer(data, np.uint8).reshape(-1, unit)


def _columns(units: _Units, floats: _Floats) -> Iterator[npt.NDArray[Any]]:
    """Yield the bits of the floating-point numbers."""
    dtype = np.dtype(floats.dtype)
    for offset in floats.offsets:
        yield np.ascontiguousarray(units[:, offset : offset + dtype.itemsize]).view(dtype)


def _count(units: _Units, floats: _Floats) -> int:
    mask = np.dtype(floats.dtype).type(floats.mask)
    return sum(int(np.count_nonzero((bits & mask) == mask)) for bits in _columns(units, floats))


def _numbers(units: _Units, floats: _Floats) -> npt.NDArray[Any]:
    """Return the bits of all numbers without their sign: minus zero is zero."""
    sign = np.dtype(floats.dtype).type(1 << (np.dtype(floats.dtype).itemsize * 8 - 1))
    return np.concatenate([bits & ~sign for bits in _columns(units, floats)])
