"""The tensors of a model by one set of names and in one layout, whatever file they lie in."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig, as_hf_tensor, hf_name, optional_tensors
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import (
    FormatError,
    TensorInfo,
    UnsupportedFormatError,
    WeightFile,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["NamedTensors", "TensorKind", "kind_of", "selected"]

TensorKind = Literal["layernorm", "embedding", "attention", "other"]


def kind_of(name: str) -> TensorKind:
    """Return what kind of tensor a Hugging Face name stands for."""
    if "norm" in name:
        return "layernorm"
    if "embed" in name or name.startswith("lm_head"):
        return "embedding"
    return "attention" if ".self_attn." in name else "other"


def selected(names: Sequence[str], parts: Sequence[str]) -> tuple[str, ...]:
    """Return the names that hold one of the parts; all of them where no part is given."""
    # layers.2 is not layers.20.
    wanted = [re.compile(re.escape(part) + r"(?!\d)") for part in parts]
    return tuple(name for name in names if not parts or any(part.search(name) for part in wanted))


class NamedTensors:
    """Opened weights under Hugging Face names and in Hugging Face layout.

    Args:
        files: SafeTensors, or one GGUF file.

    Raises:
        FormatError: a file is damaged, or holds no tensor.
        UnsupportedFormatError: the format, architecture or a tensor is not known here.
    """

    def __init__(self, files: ModelFiles) -> None:
        self.files = files
        self._opened: WeightFile
        if files.format is ModelFormat.SAFETENSORS:
            source = files.directory / "config.json"
            self.config = LlamaConfig.from_config_json(read_json_object(source), source)
            self._opened = open_safetensors(files.weights)
            stored = {name: name for name in self._opened.tensors}
        elif files.format is ModelFormat.GGUF and len(files.weights) == 1:
            path = files.weights[0]
            opened = open_gguf(path)
            self._opened = opened
            self.config = LlamaConfig.from_gguf_metadata(opened.metadata, opened.tensors, path)
            stored = {hf_name(name) or name: name for name in opened.tensors}
        else:
            what = f"{len(files.weights)} files of {files.format} are not read as one model here"
            raise UnsupportedFormatError(files.directory, what)
        if not stored:
            raise FormatError(files.weights[0], "the file holds no tensors")
        # What may be there without being needed is no difference between two files.
        spare = optional_tensors(self.config)
        self._stored = {name: raw for name, raw in stored.items() if name not in spare}

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """The place and storage of every tensor by its Hugging Face name."""
        found = {name: self._opened.tensors[raw] for name, raw in self._stored.items()}
        return MappingProxyType(found)

    @property
    def place(self) -> Path:
        """The file that messages name."""
        return self.files.weights[0]

    def load(self, name: str) -> npt.NDArray[np.float32]:
        """Return a tensor as float32 in Hugging Face layout.

        Raises:
            FormatError: there is no such tensor, or its shape does not fit the configuration.
            UnsupportedFormatError: its storage type cannot be read as float32.
        """
        values = self._opened.load(self._stored.get(name, name))
        if self.files.format is not ModelFormat.GGUF:
            return values
        try:
            return as_hf_tensor(self._stored[name], values, self.config)
        except ValueError as error:
            what = f"tensor {name!r} of shape {list(values.shape)} has not the configured heads"
            raise FormatError(self.place, what) from error

    def close(self) -> None:
        """Let go of the files."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
