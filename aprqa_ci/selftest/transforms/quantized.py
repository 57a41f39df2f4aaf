"""Breaking weights that are stored in blocks: a scale and small integers."""

import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.convert import (
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.selftest.transforms.place import (
    NotApplicableError,
    matching,
    one_file,
    tensors_of,
)

__all__ = ["blocks", "requantize", "retype"]

_Bytes = npt.NDArray[np.uint8]
_BLOCK_BYTES: Final[Mapping[str, int]] = {"Q8_0": 34, "Q4_0": 18}
_SCALE_BYTES: Final = 2


def blocks(
    directory: Path, *, file: str, name: str, change: str, strength: float = 1.0, first: bool = True
) -> None:
    """Change the blocks of quantized tensors.

    Args:
        directory: the model.
        file: the GGUF file, a pattern.
        name: the tensors, a pattern.
        change: ``scale`` multiplies the scales by ``strength``; ``shift-scales`` gives each block
            the scale of the one ``strength`` before; ``reverse`` turns the order of the blocks
            round; ``nibbles`` exchanges the halves of each byte; ``unsigned`` takes the sign bit
            off the integers; ``nan`` spoils the first ``strength`` scales.
        strength: see there.
        first: whether only the first tensor of that name is changed, rather than all.

    Raises:
        NotApplicableError: no tensor of that name is stored in blocks that are known here.
    """
    path = one_file(directory, file)
    infos = tensors_of(path)
    names = [each for each in matching(infos, name) if infos[each].dtype in _BLOCK_BYTES]
    if not names:
        what = f"no tensor {name} of {path.name} is stored in known blocks"
        raise NotApplicableError(what)
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    for each in names[:1] if first else names:
        info = infos[each]
        part = data[info.offset : info.offset + info.nbytes]
        _CHANGES[change](part.reshape(-1, _BLOCK_BYTES[info.dtype]), strength)
    path.write_bytes(data.tobytes())


def _scales(stored: _Bytes) -> npt.NDArray[np.float16]:
    return np.ascontiguousarray(stored[:, :_SCALE_BYTES]).view("<f2").reshape(-1)


def _set_scales(stored: _Bytes, scales: npt.NDArray[np.float16]) -> None:
    stored[:, :_SCALE_BYTES] = scales.astype("<f2").reshape(-1, 1).view(np.uint8)


def _scale(stored: _Bytes, strength: float) -> None:
    _set_scales(stored, (_scales(stored).astype(np.float32) * strength).astype(np.float16))


def _shift_scales(stored: _Bytes, strength: float) -> None:
    _set_scales(stored, np.roll(_scales(stored), int(strength)))


def _reverse(stored: _Bytes, strength: float) -> None:
    del strength
    stored[:] = stored[::-1].copy()


def _nibbles(stored: _Bytes, strength: float) -> None:
    del strength
    packed = stored[:, _SCALE_BYTES:]
    packed[:] = (packed << 4) | (packed >> 4)


def _unsigned(stored: _Bytes, strength: float) -> None:
    del strength
    stored[:, _SCALE_BYTES:] &= 0x7F


def _nan(stored: _Bytes, strength: float) -> None:
    scales = _scales(stored)
    scales[: int(strength)] = np.nan
    _set_scales(stored, scales)


_CHANGES: Final[Mapping[str, Callable[[_Bytes, float], None]]] = {
    "scale": _scale,
    "shift-scales": _shift_scales,
    "reverse": _reverse,
    "nibbles": _nibbles,
    "unsigned": _unsigned,
    "nan": _nan,
}


def retype(directory: Path, *, file: str, name: str, type: int) -> None:  # noqa: A002 - GGUF's word
    """Say of a tensor in the directory of a GGUF file that it is stored as another type."""
    path = one_file(directory, file)
    each = matching(tensors_of(path), name)[0].encode()
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<Q", len(each)) + each) + 8 + len(each)
    dimensions = struct.unpack_from("<I", data, at)[0]
    struct.pack_into("<I", data, at + 4 + 8 * dimensions, type)
    path.write_bytes(data)


def requantize(directory: Path, *, file: str, through: str, to: str) -> None:
    """Quantize weights that were quantized before, as from a file that is no original."""
    target = one_file(directory, file)
    with tempfile.TemporaryDirectory() as scratch:
        half = Path(scratch) / "half.gguf"
        convert_safetensors_to_gguf(directory, half, through)
        convert_gguf_to_safetensors(half, Path(scratch) / "again", "f32")
        convert_safetensors_to_gguf(Path(scratch) / "again", target, to)
