"""Reading safetensors files: one file, or the shards of one model.

A file is an 8-byte little-endian header length, that many bytes of JSON, and the tensors' bytes.
The checks are those of the format's own reader: a header of at most 100 MiB, no duplicate names,
every offset inside the file, and neither overlaps nor holes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.weights import (
    FormatError,
    TensorInfo,
    UnsupportedFormatError,
    bfloat16_as_float32,
    map_file,
)
from aprqa_ci.json_text import parse_json

__all__ = ["MAX_HEADER_BYTES", "SAFETENSORS_BITS", "SafetensorsWeights", "open_safetensors"]

MAX_HEADER_BYTES = 100 << 20
"""The longest header that the format allows, in bytes."""

SAFETENSORS_BITS: Mapping[str, int] = MappingProxyType(
    {
        "BOOL": 8,
        "F4": 4,
        "F6_E2M3": 6,
        "F6_E3M2": 6,
        "U8": 8,
        "I8": 8,
        "F8_E5M2": 8,
        "F8_E4M3": 8,
        "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8,
        "F8_E5M2FNUZ": 8,
        "I16": 16,
        "U16": 16,
        "F16": 16,
        "BF16": 16,
        "I32": 32,
        "U32": 32,
        "F32": 32,
        "C64": 64,
        "F64": 64,
        "I64": 64,
        "U64": 64,
    }
)
"""The bits of one element of every storage type of the format."""

_FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}
_MAX_DIMENSIONS = 16

_Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor in the header."""

    dtype: str
    shape: Annotated[tuple[_Size, ...], msgspec.Meta(max_length=_MAX_DIMENSIONS)]
    data_offsets: tuple[_Size, _Size]


class SafetensorsWeights:
    """The tensors of one safetensors model; a :class:`WeightFile`."""

    def __init__(
        self,
        tensors: Mapping[str, TensorInfo],
        data: dict[Path, npt.NDArray[np.uint8]],
        metadata: Mapping[str, str],
    ) -> None:
        self._tensors = MappingProxyType(dict(tensors))
        self._data = data
        self._paths = ", ".join(str(path) for path in data)
        self.metadata = MappingProxyType(dict(metadata))
        """The ``__metadata__`` of the headers, those of later shards winning."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor by name, in the order of the headers."""
        return self._tensors

    def load(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor as float32; an F32 tensor is a view of the file.

        Raises:
            FormatError: there is no such tensor, or the weights are closed.
            UnsupportedFormatError: it is not stored as F16, BF16, F32 or F64.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            raise FormatError(self._paths, f"there is no tensor {name!r}")
        if tensor.file not in self._data:
            raise FormatError(tensor.file, "the file is closed")
        raw = self._data[tensor.file][tensor.offset : tensor.offset + tensor.nbytes]
        if tensor.dtype == "BF16":
            values = bfloat16_as_float32(raw)
        elif tensor.dtype in _FLOATS:
            with np.errstate(over="ignore", invalid="ignore"):
                values = raw.view(_FLOATS[tensor.dtype]).astype(np.float32, copy=False)
        else:
            raise UnsupportedFormatError(
                tensor.file,
                f"tensor {name!r} is stored as {tensor.dtype}, which is not read as weights here",
            )
        return values.reshape(tensor.shape)

    def close(self) -> None:
        """Let go of the files."""
        self._data.clear()


def open_safetensors(paths: Sequence[Path]) -> SafetensorsWeights:
    """Open a model's safetensors file, or all of its shards, and check every header.

    Raises:
        FormatError: a file is missing, truncated or damaged, or two shards hold the same tensor.
    """
    tensors: dict[str, TensorInfo] = {}
    data: dict[Path, npt.NDArray[np.uint8]] = {}
    metadata: dict[str, str] = {}
    for path in paths:
        data[path] = map_file(path)
        found, notes = _read_header(path, data[path])
        for name, tensor in found.items():
            if name in tensors:
                raise FormatError(
                    path, f"tensor {name!r} is in the shard {tensors[name].file.name} as well"
                )
            tensors[name] = tensor
        metadata.update(notes)
    return SafetensorsWeights(tensors, data, metadata)


def _read_header(
    path: Path, data: npt.NDArray[np.uint8]
) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Read and check one file's header."""
    if data.size < 8:
        raise FormatError(path, f"{data.size} bytes are too few for a safetensors file")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(MAX_HEADER_BYTES, data.size - 8):
        raise FormatError(
            path,
            f"the header claims {length} bytes in a file of {data.size} bytes"
            f" (at most {MAX_HEADER_BYTES} are allowed); the file is truncated or not safetensors",
        )
    start = 8 + length
    header = _parse(path, data[8:start].tobytes())
    try:
        metadata = msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
        entries = {name: msgspec.convert(entry, _Entry) for name, entry in header.items()}
    except msgspec.ValidationError as error:
        raise FormatError(path, f"the header does not describe tensors: {error}") from error
    tensors = {
        name: _tensor(path, name, entry, start=start, size=data.size - start)
        for name, entry in entries.items()
    }
    _check_coverage(path, tensors, start=start, end=data.size)
    return tensors, metadata


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    """Decode the header's JSON; duplicate keys would hide a tensor."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise FormatError(path, f"the header has the key {key!r} twice")
            found[key] = value
        return found

    try:
        header = parse_json(text.decode("utf-8"), object_of=unique)
    except ValueError as error:
        raise FormatError(path, f"the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise FormatError(path, "the header is not a JSON object")
    return header


def _tensor(path: Path, name: str, entry: _Entry, *, start: int, size: int) -> TensorInfo:
    """Check one entry of the header against itself and the file."""
    begin, end = entry.data_offsets
    if not begin <= end <= size:
        raise FormatError(
            path,
            f"tensor {name!r} lies at {begin}..{end}, outside the {size} bytes of data;"
            " the file is truncated or damaged",
        )
    if entry.dtype not in SAFETENSORS_BITS:
        raise UnsupportedFormatError(
            path, f"tensor {name!r} has the unknown storage type {entry.dtype!r}"
        )
    tensor = TensorInfo(
        name=name,
        dtype=entry.dtype,
        shape=entry.shape,
        file=path,
        offset=start + begin,
        nbytes=end - begin,
    )
    if tensor.elements * SAFETENSORS_BITS[entry.dtype] != tensor.nbytes * 8:
        raise FormatError(
            path,
            f"tensor {name!r} of type {entry.dtype} and shape {list(entry.shape)} does not"
            f" fill its {tensor.nbytes} bytes",
        )
    return tensor


def _check_coverage(path: Path, tensors: Mapping[str, TensorInfo], *, start: int, end: int) -> None:
    """Require the tensors to fill the data without overlaps and holes."""
    position = start
    for tensor in sorted(tensors.values(), key=lambda entry: (entry.offset, entry.nbytes)):
        if tensor.offset != position:
            wrong = "overlaps the tensor before it" if tensor.offset < position else "has a hole"
            wrong += " before it" if tensor.offset > position else ""
            raise FormatError(
                path,
                f"tensor {tensor.name!r} at byte {tensor.offset} {wrong};"
                f" byte {position} was expected",
            )
        position += tensor.nbytes
    if position != end:
        raise FormatError(path, f"{end - position} bytes after the last tensor belong to none")
