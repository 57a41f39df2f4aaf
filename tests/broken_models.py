"""Breaks a sound model in one place, as converters, downloads and disks do."""

import json
import struct
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import TensorInfo
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = [
    "cut",
    "edit_config",
    "edit_gguf",
    "edit_safetensors",
    "gguf_of",
    "safetensors_of",
    "set_gguf_number",
    "swap_layers",
]

Tensors = dict[str, npt.NDArray[Any]]
_TYPES: Mapping[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_UINT32 = 4


def safetensors_of(directory: Path) -> ModelFiles:
    """Return the SafeTensors files in a directory."""
    return ModelFiles(
        format=ModelFormat.SAFETENSORS,
        weights=tuple(sorted(directory.glob("*.safetensors"))),
        directory=directory,
        source="local_path",
    )


def gguf_of(path: Path) -> ModelFiles:
    """Return a GGUF file."""
    return ModelFiles(
        format=ModelFormat.GGUF, weights=(path,), directory=path.parent, source="local_path"
    )


def edit_gguf(path: Path, change: Callable[[Tensors], None]) -> None:
    """Let ``change`` write into the tensors of a GGUF file, in place; F16 and F32 only."""
    with closing(open_gguf(path)) as opened:
        tensors = dict(opened.tensors)
    _edit(tensors, change)


def edit_safetensors(directory: Path, change: Callable[[Tensors], None]) -> None:
    """Let ``change`` write into the tensors of a model directory, in place; F16 and F32 only."""
    with closing(open_safetensors(safetensors_of(directory).weights)) as opened:
        tensors = dict(opened.tensors)
    _edit(tensors, change)


def swap_layers(tensors: Tensors) -> None:
    """Swap the first two layers of a GGUF file."""
    for name in [name for name in tensors if name.startswith("blk.0.")]:
        other = "blk.1." + name.removeprefix("blk.0.")
        kept = tensors[name].copy()
        tensors[name][:] = tensors[other]
        tensors[other][:] = kept


def edit_config(directory: Path, **changes: object) -> None:
    """Change settings in config.json."""
    path = directory / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, **changes}), encoding="utf-8")


def set_gguf_number(path: Path, key: str, value: int) -> None:
    """Change one 32-bit number of the metadata, in place."""
    data = bytearray(path.read_bytes())
    name = key.encode()
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name)
    assert struct.unpack_from("<I", data, at)[0] == _UINT32
    struct.pack_into("<I", data, at + 4, value)
    path.write_bytes(data)


def cut(path: Path, share: float) -> None:
    """Cut a file short, as a broken download leaves it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def _edit(tensors: Mapping[str, TensorInfo], change: Callable[[Tensors], None]) -> None:
    views: Tensors = {
        name: np.memmap(
            info.file, dtype=_TYPES[info.dtype], mode="r+", offset=info.offset, shape=info.shape
        )
        for name, info in tensors.items()
        if info.dtype in _TYPES
    }
    change(views)
    for view in views.values():
        assert isinstance(view, np.memmap)
        view.flush()
