"""The storage types of GGML: their names, their blocks, and how blocks become float32.

The layouts are those of ``ggml-common.h``; all of them are little-endian. A block holds a fixed
number of consecutive elements of one row with the scales they share.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.weights import bfloat16_as_float32

__all__ = ["DEQUANTIZED_TYPES", "GGML_TYPES", "GgmlType", "dequantize", "file_type_name"]

_Bytes = npt.NDArray[np.uint8]
_Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class GgmlType:
    """One storage type."""

    name: str
    block_elements: int
    block_bytes: int


def _table(*rows: tuple[int, str, int, int]) -> Mapping[int, GgmlType]:
    return MappingProxyType(
        {
            number: GgmlType(name=name, block_elements=elements, block_bytes=size)
            for number, name, elements, size in rows
        }
    )


GGML_TYPES = _table(
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
)
"""Every type by its number in a GGUF file."""

_BLOCKS_AT_ONCE = 1 << 15
"""How many blocks are unpacked together, so that temporaries stay small."""


def dequantize(raw: _Bytes, type_name: str) -> _Floats:
    """Return the elements of whole blocks as one row of float32.

    Args:
        raw: the bytes of whole blocks, shape (n * block_bytes,).
        type_name: one of :data:`DEQUANTIZED_TYPES`.

    Returns:
        Shape (n * block_elements,). F32 gives a view of ``raw``.

    Raises:
        KeyError: the type is not one of :data:`DEQUANTIZED_TYPES`.
    """
    if type_name in _WHOLE:
        with np.errstate(over="ignore", invalid="ignore"):
            return _WHOLE[type_name](raw)
    kind = next(entry for entry in GGML_TYPES.values() if entry.name == type_name)
    unpack = _BLOCKS[type_name]
    blocks = raw.reshape(-1, kind.block_bytes)
    values = np.empty((len(blocks), kind.block_elements), dtype=np.float32)
    # A damaged scale may be infinite or NaN; it is passed on for the reader to find.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(blocks), _BLOCKS_AT_ONCE):
            part = slice(start, start + _BLOCKS_AT_ONCE)
            values[part] = unpack(blocks[part])
    return values.reshape(-1)


def _halves(blocks: _Bytes, start: int, count: int = 1) -> _Floats:
    """Return ``count`` float16 numbers of each block, from byte ``start``, shape (n, count)."""
    return blocks[:, start : start + 2 * count].copy().view("<f2").astype(np.float32)


def _nibbles(packed: _Bytes) -> _Bytes:
    """Return the low nibbles of each row, then its high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(packed: _Bytes) -> _Bytes:
    """Spread the 32 bits of each row of four bytes, lowest first, as 0 or 16."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def _q4_0(blocks: _Bytes) -> _Floats:
    return (_nibbles(blocks[:, 2:]).astype(np.float32) - 8) * _halves(blocks, 0)


def _q4_1(blocks: _Bytes) -> _Floats:
    return _nibbles(blocks[:, 4:]).astype(np.float32) * _halves(blocks, 0) + _halves(blocks, 2)


def _q5_0(blocks: _Bytes) -> _Floats:
    levels = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return (levels.astype(np.float32) - 16) * _halves(blocks, 0)


def _q5_1(blocks: _Bytes) -> _Floats:
    levels = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return levels.astype(np.float32) * _halves(blocks, 0) + _halves(blocks, 2)


def _q8_0(blocks: _Bytes) -> _Floats:
    return blocks[:, 2:].view(np.int8).astype(np.float32) * _halves(blocks, 0)


def _scales_and_minima(blocks: _Bytes) -> tuple[_Floats, _Floats]:
    """Return the scales and minima of the eight sub-blocks of Q4_K and Q5_K, each (n, 8, 1).

    Twelve bytes hold sixteen 6-bit numbers: the first four scales and minima in the low six bits
    of bytes 0-3 and 4-7; of the last four, the low nibbles in bytes 8-11 and the two high bits
    on top of bytes 0-3 and 4-7.
    """
    first, second, third = (blocks[:, 4 + 4 * part : 8 + 4 * part] for part in range(3))
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=1)
    return (
        (scales.astype(np.float32) * _halves(blocks, 0))[:, :, None],
        (minima.astype(np.float32) * _halves(blocks, 2))[:, :, None],
    )


def _paired_nibbles(packed: _Bytes) -> _Bytes:
    """Return eight rows of 32 nibbles: of every 32 bytes the low nibbles, then the high ones."""
    chunks = packed.reshape(-1, 4, 1, 32)
    return np.concatenate([chunks & 15, chunks >> 4], axis=2).reshape(-1, 8, 32)


def _q4_k(blocks: _Bytes) -> _Floats:
    scales, minima = _scales_and_minima(blocks)
    levels = _paired_nibbles(blocks[:, 16:]).astype(np.float32)
    return (levels * scales - minima).reshape(-1, 256)


def _q5_k(blocks: _Bytes) -> _Floats:
    scales, minima = _scales_and_minima(blocks)
    # Bit i of the 32 bytes belongs to sub-block i.
    high = blocks[:, 16:48].reshape(-1, 1, 32) >> np.arange(8, dtype=np.uint8)[:, None]
    levels = _paired_nibbles(blocks[:, 48:]) | ((high & 1) << np.uint8(4))
    return (levels.astype(np.float32) * scales - minima).reshape(-1, 256)


def _q6_k(blocks: _Bytes) -> _Floats:
    # Each half of 128 elements: 64 bytes of low nibbles, 32 bytes of pairs of high bits.
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts & 3
    levels = (low | (high << np.uint8(4))).astype(np.float32).reshape(-1, 16, 16) - 32
    scales = blocks[:, 192:208].view(np.int8).astype(np.float32) * _halves(blocks, 208)
    return (levels * scales[:, :, None]).reshape(-1, 256)


_WHOLE: Mapping[str, Callable[[_Bytes], _Floats]] = {
    "F32": lambda raw: raw.view("<f4"),
    "F16": lambda raw: raw.view("<f2").astype(np.float32),
    "BF16": bfloat16_as_float32,
    "F64": lambda raw: raw.view("<f8").astype(np.float32),
}
_BLOCKS: Mapping[str, Callable[[_Bytes], _Floats]] = {
    "Q4_0": _q4_0,
    "Q4_1": _q4_1,
    "Q5_0": _q5_0,
    "Q5_1": _q5_1,
    "Q8_0": _q8_0,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}

DEQUANTIZED_TYPES = frozenset({*_WHOLE, *_BLOCKS})
"""The names of the types that :func:`dequantize` reads."""

_FILE_TYPES: Mapping[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
}


def file_type_name(value: object) -> str | None:
    """Return the name of a ``general.file_type``, as llama.cpp numbers them, if it is known."""
    return _FILE_TYPES.get(value) if isinstance(value, int) else None
