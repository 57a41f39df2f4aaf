"""What a file of weights is to its readers: named tensors with a place, loaded as float32."""

import mmap
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "FormatError",
    "TensorInfo",
    "UnsupportedArchitectureError",
    "UnsupportedFormatError",
    "WeightFile",
    "bfloat16_as_float32",
    "check_no_overlap",
    "map_file",
]


class FormatError(Exception):
    """A file is damaged or is not what its name says.

    Args:
        place: the file.
        what: what is wrong, and where in the file.
    """

    def __init__(self, place: Path | str, what: str) -> None:
        super().__init__(place, what)
        self.place = place
        self.what = what

    def __str__(self) -> str:
        return f"{self.place}: {self.what}"


class UnsupportedFormatError(FormatError):
    """A file may well be sound, and uses something that these readers do not know."""


class UnsupportedArchitectureError(UnsupportedFormatError):
    """A file names an architecture that is not known here, and so none of it was understood."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorInfo:
    """Where one tensor lies and how it is stored."""

    name: str
    dtype: str
    """The name of the storage type: ``F16``, ``BF16``, ``Q4_K`` and so on."""
    shape: tuple[int, ...]
    """Outermost dimension first, as numpy and safetensors have it (GGUF files reverse it)."""
    file: Path
    offset: int
    """From the start of the file, in bytes."""
    nbytes: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count


class WeightFile(Protocol):
    """Opened weights, in one file or several."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor by name, in the order of the file."""
        ...

    def load(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor as float32, dequantised, in its shape. It may be read-only.

        Raises:
            FormatError: there is no such tensor.
            UnsupportedFormatError: its storage type cannot be read as float32.
        """
        ...

    def close(self) -> None:
        """Let go of the files; safe to call twice. Loaded arrays stay valid."""
        ...


def map_file(path: Path) -> npt.NDArray[np.uint8]:
    """Map a file into memory, read-only; the mapping ends with the last array that looks into it.

    Raises:
        FormatError: the file is missing, unreadable, empty, or not a regular file.
    """
    try:
        # Opening a FIFO would wait for a writer that never comes.
        if not stat.S_ISREG(path.stat().st_mode):
            raise FormatError(path, "not a regular file")
        with path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise FormatError(path, "the file is empty")
            return np.frombuffer(
                mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8
            )
    except (OSError, ValueError) as error:
        raise FormatError(path, f"cannot be read: {error}") from error


def check_no_overlap(path: Path, tensors: Iterable[TensorInfo]) -> None:
    """Raise :class:`FormatError` if two tensors share a byte of the file."""
    last: TensorInfo | None = None
    for tensor in sorted(tensors, key=lambda entry: (entry.offset, entry.nbytes)):
        if last is not None and tensor.nbytes and tensor.offset < last.offset + last.nbytes:
            raise FormatError(
                path, f"tensors {last.name!r} and {tensor.name!r} overlap at byte {tensor.offset}"
            )
        if tensor.nbytes:
            last = tensor


def bfloat16_as_float32(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Widen little-endian bfloat16 bytes: bfloat16 is the upper half of a float32."""
    wide = raw.view("<u2").astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
