"""Loading a model for the reference engine, and telling its limits from the model's faults."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.engines.chat_template import (
    ChatTemplate,
    chat_template_from_gguf,
    load_chat_template,
)
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    ModelLoadError,
    UnknownArchitectureError,
)
from aprqa_ci.execution.engines.reference.network import LlamaNetwork
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import (
    LlamaConfig,
    as_hf_tensor,
    expected_tensors,
    gguf_name,
    hf_name,
    optional_tensors,
)
from aprqa_ci.execution.formats.rope import ROPE_FACTORS
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_gguf
from aprqa_ci.execution.formats.weights import (
    FormatError,
    UnsupportedArchitectureError,
    UnsupportedFormatError,
    WeightFile,
)
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["LoadedModel", "load_model"]

_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|end_of_text|>")
"""Tokens that end an answer by their meaning. A GGUF file has room for one end token where
generation_config.json has a list; llama.cpp closes that gap in the same way."""
_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready to answer."""

    network: LlamaNetwork
    tokenizer: Tokenizer
    template: ChatTemplate | None
    end_ids: frozenset[int]
    """The tokens that end an answer."""


def load_model(model: ModelFiles) -> LoadedModel:
    """Load a model's configuration, tokenizer, template and weights.

    Raises:
        ModelLoadError: a file is missing or damaged, or a tensor is missing or has a wrong shape.
        UnknownArchitectureError: the architecture is not known here.
        EngineAbsentError: the format, tokenizer, tensor type or a setting is not.
    """
    with _faults_told_apart():
        if model.format is ModelFormat.SAFETENSORS:
            return _load_safetensors(model)
        if model.format is ModelFormat.GGUF:
            return _load_gguf(model)
    what = f"the reference engine does not know the format {model.format}"
    raise EngineAbsentError(what)


@contextmanager
def _faults_told_apart() -> Iterator[None]:
    """Say whose fault a file that cannot be used is: ours if we do not know it, or the model's."""
    try:
        yield
    except UnsupportedArchitectureError as error:
        what = f"the reference engine does not know how to run this model: {error}"
        raise UnknownArchitectureError(what) from error
    except UnsupportedFormatError as error:
        what = f"the reference engine does not know how to run this model: {error}"
        raise EngineAbsentError(what) from error
    except FormatError as error:
        raise ModelLoadError(str(error)) from error


def _load_safetensors(model: ModelFiles) -> LoadedModel:
    source = model.directory / "config.json"
    config = LlamaConfig.from_config_json(read_json_object(source), source)
    tokenizer = load_tokenizer(model.directory)
    with closing(open_safetensors(model.weights)) as weights:
        _check_tensors(config, weights, {name: name for name in weights.tensors}, tokenizer)
        network = LlamaNetwork(config, weights.load)
    ends = {*config.eos_token_ids, *_generation_ends(model.directory)}
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        template=load_chat_template(model.directory),
        end_ids=_end_ids(tokenizer, ends),
    )


def _load_gguf(model: ModelFiles) -> LoadedModel:
    if len(model.weights) != 1:
        raise UnsupportedFormatError(model.directory, "a GGUF model in several files")
    path = model.weights[0]
    with closing(open_gguf(path)) as weights:
        config = LlamaConfig.from_gguf_metadata(weights.metadata, weights.tensors, path)
        tokenizer = tokenizer_from_gguf(weights.metadata, path)
        names = {hf_name(name) or name: name for name in weights.tensors}
        _check_tensors(config, weights, names, tokenizer)

        def load(name: str) -> npt.NDArray[np.float32]:
            stored = gguf_name(name) or name
            return as_hf_tensor(stored, weights.load(stored), config)

        divisors = None
        if ROPE_FACTORS in weights.tensors:
            divisors = weights.load(ROPE_FACTORS).astype(np.float64)
        network = LlamaNetwork(config, load, divisors)
        ends = {*config.eos_token_ids, *_gguf_ends(weights.metadata, tokenizer)}
        template = chat_template_from_gguf(weights.metadata)
    return LoadedModel(
        network=network,
        tokenizer=tokenizer,
        template=template,
        end_ids=_end_ids(tokenizer, ends),
    )


def _check_tensors(
    config: LlamaConfig, weights: WeightFile, names: Mapping[str, str], tokenizer: Tokenizer
) -> None:
    """Require every tensor in its shape, and refuse those whose meaning is not known.

    Args:
        config: the dimensions.
        weights: the opened file.
        names: Hugging Face name to the name in the file.
        tokenizer: its ids must be rows of the embedding.
    """
    expected = expected_tensors(config)
    place = next(iter(weights.tensors.values())).file if weights.tensors else Path("weights")
    missing = [name for name in expected if name not in names]
    if missing:
        raise FormatError(place, f"tensors are missing: {_listed(missing)}")
    wrong = [
        f"{names[name]} is {list(found)} and not {list(shape)}"
        for name, shape in expected.items()
        if (found := weights.tensors[names[name]].shape) != shape
    ]
    if wrong:
        raise FormatError(place, f"tensors have another shape than configured: {_listed(wrong)}")
    optional = optional_tensors(config)
    unknown = [stored for name, stored in names.items() if name not in {*expected, *optional}]
    if unknown:
        raise UnsupportedFormatError(place, f"tensors of unknown meaning: {_listed(unknown)}")
    if tokenizer.vocab_size > config.vocab_size:
        raise FormatError(
            place,
            f"the tokenizer has {tokenizer.vocab_size} tokens and the embedding"
            f" {config.vocab_size} rows",
        )


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _generation_ends(directory: Path) -> set[int]:
    path = directory / "generation_config.json"
    if not path.exists():
        return set()
    found = read_json_object(path).get("eos_token_id")
    entries = found if isinstance(found, list) else [found]
    return {entry for entry in entries if isinstance(entry, int)}


def _gguf_ends(metadata: Mapping[str, Any], tokenizer: Tokenizer) -> set[int]:
    ends = {metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eot", "eom")}
    ends |= {
        number for number, token in tokenizer.model.added.items() if token.content in _TURN_ENDS
    }
    return {end for end in ends if isinstance(end, int)}


def _end_ids(tokenizer: Tokenizer, ends: set[int]) -> frozenset[int]:
    own = tokenizer.model.eos_id
    return frozenset(ends if own is None else ends | {own})
