"""Reading GGUF files, versions 2 and 3, little-endian.

A file is ``GGUF``, a version, the counts of tensors and metadata, the metadata (typed keys and
values), the tensor directory, and the tensors' bytes from the next multiple of the alignment on.
Every count and length is checked against what is left of the file before anything is allocated.
"""

import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.ggml_types import DEQUANTIZED_TYPES, GGML_TYPES, dequantize
from aprqa_ci.execution.formats.weights import (
    FormatError,
    TensorInfo,
    UnsupportedFormatError,
    check_no_overlap,
    map_file,
)

__all__ = ["GgufWeights", "MetadataValue", "open_gguf"]

MetadataValue: TypeAlias = "bool | int | float | str | list[MetadataValue]"
"""A metadata value; arrays are lists."""

_SCALARS: Mapping[int, tuple[struct.Struct, str]] = {
    number: (struct.Struct("<" + code), "<" + dtype)
    for number, code, dtype in (
        (0, "B", "u1"),
        (1, "b", "i1"),
        (2, "H", "u2"),
        (3, "h", "i2"),
        (4, "I", "u4"),
        (5, "i", "i4"),
        (6, "f", "f4"),
        (7, "?", "?"),
        (10, "Q", "u8"),
        (11, "q", "i8"),
        (12, "d", "f8"),
    )
}
_STRING, _ARRAY = 8, 9

_MAX_METADATA = 1 << 16
_MAX_TENSORS = 1 << 20
_MAX_KEY_BYTES = (1 << 16) - 1
_MAX_STRING_BYTES = 64 << 20
_MAX_NAME_BYTES = 1 << 10
_MAX_ARRAY_ELEMENTS = 1 << 24
"""Of all arrays together: memory stays a small multiple of it whatever the file claims."""
_MAX_NESTING = 4
_MAX_DIMENSIONS = 4
_MAX_ALIGNMENT = 1 << 20
_MAX_SIZE = 1 << 62


class GgufWeights:
    """An opened GGUF file; a :class:`WeightFile` with metadata."""

    def __init__(
        self,
        path: Path,
        *,
        version: int,
        alignment: int,
        metadata: Mapping[str, MetadataValue],
        tensors: Mapping[str, TensorInfo],
        data: npt.NDArray[np.uint8],
    ) -> None:
        self._path = path
        self.version = version
        """The version of the format: 2 or 3."""
        self.alignment = alignment
        """What tensor offsets are multiples of, in bytes."""
        self.metadata: Mapping[str, MetadataValue] = MappingProxyType(dict(metadata))
        """Every key and value, in the order of the file."""
        self._tensors = MappingProxyType(dict(tensors))
        self._data: npt.NDArray[np.uint8] | None = data

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor by name, in the order of the file."""
        return self._tensors

    def load(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor as float32, dequantised; an F32 tensor is a view of the file.

        Raises:
            FormatError: there is no such tensor, or the file is closed.
            UnsupportedFormatError: its type can be named but not be dequantised here.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            raise FormatError(self._path, f"there is no tensor {name!r}")
        if self._data is None:
            raise FormatError(tensor.file, "the file is closed")
        if tensor.dtype not in DEQUANTIZED_TYPES:
            raise UnsupportedFormatError(
                tensor.file,
                f"tensor {name!r} is stored as {tensor.dtype}, which cannot be"
                f" dequantised here (known: {', '.join(sorted(DEQUANTIZED_TYPES))})",
            )
        raw = self._data[tensor.offset : tensor.offset + tensor.nbytes]
        return dequantize(raw, tensor.dtype).reshape(tensor.shape)

    def close(self) -> None:
        """Let go of the file."""
        self._data = None


def open_gguf(path: Path) -> GgufWeights:
    """Open a GGUF file, read its metadata and tensor directory, and check both.

    Raises:
        FormatError: the file is missing, truncated or damaged.
        UnsupportedFormatError: version 1, a big-endian file, or an unknown tensor type.
    """
    data = map_file(path)
    reader = _Reader(path, data)
    version = reader.preamble()
    tensor_count = reader.count(_MAX_TENSORS, "tensors")
    metadata_count = reader.count(_MAX_METADATA, "metadata entries")
    metadata = _read_metadata(reader, metadata_count)
    alignment = _alignment(path, metadata)
    directory = _read_directory(reader, tensor_count)
    start = -(-reader.position // alignment) * alignment
    tensors = {
        name: _place(path, name, shape, number, start + offset, size=data.size, alignment=alignment)
        for name, (shape, number, offset) in directory.items()
    }
    check_no_overlap(path, tensors.values())
    return GgufWeights(
        path, version=version, alignment=alignment, metadata=metadata, tensors=tensors, data=data
    )


class _Reader:
    """Reads the head of a file in order; every step is checked against its end."""

    def __init__(self, path: Path, data: npt.NDArray[np.uint8]) -> None:
        self.path = path
        self.position = 0
        self._view = memoryview(data.data)
        self._elements_left = _MAX_ARRAY_ELEMENTS

    def fail(self, what: str) -> NoReturn:
        """Raise an error that names the place."""
        raise FormatError(self.path, f"{what} at byte {self.position}")

    def take(self, size: int, what: str) -> memoryview:
        """Return the next ``size`` bytes."""
        end = self.position + size
        if end > len(self._view):
            self.fail(
                f"{what} needs {size} bytes and {len(self._view) - self.position} are left:"
                " the file is truncated or damaged"
            )
        found = self._view[self.position : end]
        self.position = end
        return found

    def preamble(self) -> int:
        """Read the magic and the version."""
        if bytes(self.take(4, "the magic")) != b"GGUF":
            raise FormatError(self.path, "not a GGUF file: it does not begin with 'GGUF'")
        raw = bytes(self.take(4, "the version"))
        version = int.from_bytes(raw, "little")
        if version in {2, 3}:
            return version
        if int.from_bytes(raw, "big") in {1, 2, 3}:
            raise UnsupportedFormatError(self.path, "big-endian GGUF is not read here")
        if version == 1:
            raise UnsupportedFormatError(self.path, "GGUF version 1 is not read here")
        raise FormatError(self.path, f"unknown GGUF version {version}")

    def integer(self, size: int, what: str) -> int:
        """Read an unsigned integer of ``size`` bytes."""
        return int.from_bytes(self.take(size, what), "little")

    def count(self, limit: int, what: str) -> int:
        """Read a count of at most ``limit``."""
        found = self.integer(8, f"the number of {what}")
        if found > limit:
            self.fail(f"{found} {what} are more than the {limit} that are read here,")
        return found

    def string(self, limit: int, what: str) -> str:
        """Read a length and that many bytes of UTF-8."""
        size = self.integer(8, f"the length of {what}")
        if size > limit:
            self.fail(f"{what} claims {size} bytes, more than {limit},")
        raw = self.take(size, what)
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            self.fail(f"{what} is not UTF-8 ({error.reason})")

    def value(self, kind: int, key: str, depth: int = 0) -> MetadataValue:
        """Read one metadata value of the type numbered ``kind``."""
        what = f"the value of {key!r}"
        if kind in _SCALARS:
            layout, _ = _SCALARS[kind]
            scalar: bool | int | float = layout.unpack(self.take(layout.size, what))[0]
            return scalar
        if kind == _STRING:
            return self.string(_MAX_STRING_BYTES, what)
        if kind == _ARRAY:
            return self._array(key, what, depth)
        return self.fail(f"{what} has the unknown type {kind}")

    def _array(self, key: str, what: str, depth: int) -> list[MetadataValue]:
        if depth >= _MAX_NESTING:
            self.fail(f"{what} nests arrays more than {_MAX_NESTING} deep")
        kind = self.integer(4, what)
        count = self.integer(8, what)
        self._elements_left -= count
        if self._elements_left < 0:
            self.fail(f"{what} claims {count} elements, too many to be read here,")
        if kind in _SCALARS:
            layout, dtype = _SCALARS[kind]
            numbers: list[MetadataValue] = np.frombuffer(
                self.take(layout.size * count, what), dtype=dtype
            ).tolist()
            return numbers
        # The smallest element is a string or array of none: its length alone.
        if count * 8 > len(self._view) - self.position:
            self.fail(f"{what} claims {count} elements, more than the file can hold,")
        return [self.value(kind, key, depth + 1) for _ in range(count)]


def _read_metadata(reader: _Reader, count: int) -> dict[str, MetadataValue]:
    metadata: dict[str, MetadataValue] = {}
    for _ in range(count):
        key = reader.string(_MAX_KEY_BYTES, "a metadata key")
        if key in metadata:
            reader.fail(f"the metadata key {key!r} stands twice")
        metadata[key] = reader.value(reader.integer(4, f"the type of {key!r}"), key)
    return metadata


def _alignment(path: Path, metadata: Mapping[str, MetadataValue]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if (
        not isinstance(alignment, int)
        or isinstance(alignment, bool)
        or not 1 <= alignment <= _MAX_ALIGNMENT
        or alignment & (alignment - 1)
    ):
        raise FormatError(
            path,
            f"general.alignment is {str(alignment)[:40]!r}, not a power of two up to"
            f" {_MAX_ALIGNMENT}",
        )
    return alignment


def _read_directory(reader: _Reader, count: int) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """Read the tensor directory: name to (shape, number of the type, offset)."""
    directory: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(count):
        name = reader.string(_MAX_NAME_BYTES, "a tensor's name")
        if name in directory:
            reader.fail(f"the tensor {name!r} stands twice in the directory,")
        dimensions = reader.integer(4, f"the dimensions of tensor {name!r}")
        if dimensions > _MAX_DIMENSIONS:
            reader.fail(f"tensor {name!r} claims {dimensions} dimensions")
        shape = tuple(
            reader.integer(8, f"the dimensions of tensor {name!r}") for _ in range(dimensions)
        )
        number = reader.integer(4, f"the type of tensor {name!r}")
        # The file has the innermost dimension first.
        directory[name] = (shape[::-1], number, reader.integer(8, f"the offset of {name!r}"))
    return directory


def _place(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    number: int,
    offset: int,
    *,
    size: int,
    alignment: int,
) -> TensorInfo:
    """Check one tensor of the directory against the file."""
    kind = GGML_TYPES.get(number)
    if kind is None:
        raise UnsupportedFormatError(path, f"tensor {name!r} has the unknown type {number}")
    elements = 1
    for dimension in shape:
        elements *= dimension
    if elements > _MAX_SIZE or 0 in shape:
        raise FormatError(path, f"tensor {name!r} has the impossible shape {list(shape)}")
    row = shape[-1] if shape else 1
    if row % kind.block_elements:
        raise FormatError(
            path,
            f"tensor {name!r} is stored as {kind.name} and its rows of {row} elements are"
            f" not whole blocks of {kind.block_elements}",
        )
    nbytes = elements // kind.block_elements * kind.block_bytes
    if offset % alignment:
        raise FormatError(
            path, f"tensor {name!r} at byte {offset} is not aligned to {alignment} bytes"
        )
    if offset + nbytes > size:
        raise FormatError(
            path,
            f"tensor {name!r} lies at {offset}..{offset + nbytes}, outside the {size} bytes"
            " of the file: it is truncated or damaged",
        )
    return TensorInfo(
        name=name, dtype=kind.name, shape=shape, file=path, offset=offset, nbytes=nbytes
    )
