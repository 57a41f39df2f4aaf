"""A model's files, opened when a gate first needs them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.examiners import Examination, FindExaminer, no_examiner
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import (
    FormatError,
    TensorInfo,
    UnsupportedFormatError,
    WeightFile,
)
from aprqa_ci.execution.integrity.claims import Claims, claims_of_config, claims_of_metadata
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.integrity.survey import Survey, survey
from aprqa_ci.execution.integrity.token_list import (
    TokenList,
    token_list_of_directory,
    token_list_of_metadata,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["Subject", "Weights"]

_FAMILY = frozenset({"llama", "mistral", "qwen2"})
"""The model types that must name their architecture."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The directory of all weight files together."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Any]
    """The metadata of the (first) GGUF file; empty for SafeTensors."""


class Subject:
    """The model under inspection.

    Every property raises FormatError when the file behind it is missing or damaged,
    UnsupportedFormatError when it cannot be read here, and NotJudgedError when there is none by
    design. An error is not remembered, only what was read is.
    """

    def __init__(
        self,
        files: ModelFiles,
        *,
        ground_truth: ModelFiles | None = None,
        expected: Mapping[str, int] | None = None,
        examiner: FindExaminer = no_examiner,
    ) -> None:
        self.files = files
        self.ground_truth = ground_truth
        self.expected: Mapping[str, int] = expected or {}
        """The dimensions that the playbook declares."""
        self._examiner = examiner

    @property
    def is_gguf(self) -> bool:
        """Whether the configuration is in the weight file itself."""
        return self.files.format is ModelFormat.GGUF

    @cached_property
    def weights(self) -> Weights:
        """Every tensor's place; no tensor is loaded."""
        if not self.is_gguf:
            opened = open_safetensors(self.files.weights)
            return Weights(tensors=_directory(opened), metadata={})
        tensors: dict[str, TensorInfo] = {}
        metadata: Mapping[str, Any] = {}
        for number, path in enumerate(self.files.weights):
            part = open_gguf(path)
            if number == 0:
                metadata = part.metadata
            for name, tensor in _directory(part).items():
                if name in tensors:
                    raise FormatError(path, f"tensor {name!r} is in another part as well")
                tensors[name] = tensor
        return Weights(tensors=tensors, metadata=metadata)

    @cached_property
    def examination(self) -> tuple[Examination, str]:
        """What a tool says of a file that is not opened here, and which tool.

        Raises:
            NotJudgedError: there is none here, or its reports cannot be relied on.
        """
        if len(self.files.weights) != 1:
            what = f"{len(self.files.weights)} files are not looked at as one model"
            raise NotJudgedError(what)
        path = self.files.weights[0]
        try:
            examiner, tool = self._examiner()
            found = examiner.examine(path)
        except EngineAbsentError as error:
            raise NotJudgedError(str(error)) from error
        except ModelLoadError as error:
            raise FormatError(path, str(error)) from error
        if found.format.lower() != self.files.format:
            raise FormatError(path, f"{tool} takes the file for {found.format}")
        return found, tool

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return read_json_object(self.files.directory / "config.json")

    @cached_property
    def claims(self) -> Claims:
        """What the configuration, or the GGUF metadata, claim."""
        if self.is_gguf:
            return claims_of_metadata(self.weights.metadata)
        return claims_of_config(self.config)

    @cached_property
    def family(self) -> LlamaConfig:
        """The configuration as the Llama family reads it, with every name and shape known."""
        if self.is_gguf:
            return LlamaConfig.from_gguf_metadata(self.weights.metadata, self.weights.tensors)
        if "architectures" not in self.config and self.config.get("model_type") not in _FAMILY:
            what = "names no architecture, and its model_type is not known here"
            raise UnsupportedFormatError(self.files.directory / "config.json", what)
        return LlamaConfig.from_config_json(self.config)

    @cached_property
    def survey(self) -> Survey:
        """What the tensors' names and shapes say.

        Raises:
            FormatError: the file holds no tensor at all.
        """
        found = survey(self.weights.tensors)
        if not found.tensors:
            raise FormatError(self.files.weights[0], "the file holds no tensors")
        return found

    @cached_property
    def token_list(self) -> TokenList:
        """Every token of the tokenizer by its id."""
        if self.is_gguf:
            return token_list_of_metadata(self.weights.metadata)
        return token_list_of_directory(self.files.directory)

    def claimed(self, dimension: str) -> int:
        """Return a dimension that is claimed.

        Raises:
            NotJudgedError: it is not.
        """
        value = self.claims.get(dimension)
        if value is None:
            msg = f"{self.claims.source} does not say {dimension}"
            raise NotJudgedError(msg)
        return value

    def declared(self, *dimensions: str) -> list[str]:
        """Return a problem for each dimension that the playbook declares otherwise."""
        problems = []
        for dimension in dimensions:
            wanted, claimed = self.expected.get(dimension), self.claims.get(dimension)
            if wanted is not None and claimed is not None and wanted != claimed:
                problems.append(
                    f"the playbook declares {dimension} {wanted}, "
                    f"and {self.claims.source} says {claimed}"
                )
        return problems


def _directory(opened: WeightFile) -> dict[str, TensorInfo]:
    """Keep the tensors' places and let go of the file."""
    tensors = dict(opened.tensors)
    opened.close()
    return tensors
