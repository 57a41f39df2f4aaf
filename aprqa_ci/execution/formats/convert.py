"""Converting a Llama-family model between safetensors and GGUF.

The same source gives the same bytes. Only the target is written, through a temporary file or
directory beside it, so that it is there whole or not at all.
"""

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from aprqa_ci.execution.formats.gguf import GgufWeights, open_gguf
from aprqa_ci.execution.formats.gguf_writing import (
    add_dimensions,
    add_tokenizer,
    as_half,
    load_tensor,
    write_tensors,
)
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import (
    LlamaConfig,
    as_hf_tensor,
    expected_tensors,
    gguf_name,
)
from aprqa_ci.execution.formats.rope import ROPE_FACTORS
from aprqa_ci.execution.formats.safetensors import SafetensorsWeights, open_safetensors
from aprqa_ci.execution.formats.tokenizer_model import (
    read_gguf_tokenizer,
    read_tokenizer_directory,
)
from aprqa_ci.execution.formats.tokenizer_writing import tokenizer_config_json, tokenizer_json
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.weight_files import WeightsAbsentError, WeightsFaultyError, find_weights
from aprqa_ci.vocabulary import ModelFormat

__all__ = [
    "DTYPES",
    "QUANTIZATIONS",
    "convert_gguf_to_safetensors",
    "convert_safetensors_to_gguf",
]

QUANTIZATIONS = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1")
"""What :func:`convert_safetensors_to_gguf` can write."""
DTYPES = {"f16": "F16", "f32": "F32"}
"""What :func:`convert_gguf_to_safetensors` can write, with the names of the storage types."""


def convert_safetensors_to_gguf(
    source_directory: Path, target: Path, quantization: str, *, weights: Sequence[Path] = ()
) -> None:
    """Write a model directory as one GGUF file.

    Matrices get the asked type; vectors stay F32. A matrix whose rows are not whole blocks of that
    type becomes F16, as llama.cpp's converter does it.

    Args:
        source_directory: holds config.json, tokenizer.json and the weights, in shards or not.
        target: the file to write; one that is there is replaced.
        quantization: one of :data:`QUANTIZATIONS`.
        weights: the weight files, where they are not those that the directory is known by.

    Raises:
        FormatError: the source is damaged or incomplete.
        UnsupportedFormatError: the architecture, the tokenizer or the quantization is not known.
        OSError: the target cannot be written.
    """
    if quantization not in QUANTIZATIONS:
        raise UnsupportedFormatError(
            target, f"cannot be written as {quantization!r} (known: {', '.join(QUANTIZATIONS)})"
        )
    path = source_directory / "config.json"
    config = LlamaConfig.from_config_json(read_json_object(path), path)
    tokenizer = read_tokenizer_directory(source_directory)
    # Only GGUF's own pre-tokenizer name says whether whole words are looked up.
    if tokenizer.ignore_merges != (tokenizer.pre == "llama-bpe"):
        raise UnsupportedFormatError(
            source_directory, f"GGUF has no {tokenizer.pre} rules with this ignore_merges"
        )
    opened = open_safetensors(weights) if weights else _open_directory(source_directory)
    with closing(opened), _replaced(target) as temporary:
        # Imported here because it takes longer than all the rest, and few runs convert.
        import gguf  # noqa: PLC0415 - see above

        writer = gguf.GGUFWriter(temporary, config.architecture)
        try:
            add_dimensions(writer, config)
            add_tokenizer(writer, config, tokenizer, source_directory)
            write_tensors(writer, config, opened, quantization)
        finally:
            writer.close()


def convert_gguf_to_safetensors(source: Path, target_directory: Path, dtype: str) -> None:
    """Write a GGUF file as a model directory: weights, configuration and tokenizer.

    Args:
        source: the GGUF file.
        target_directory: the directory to make; it may be there if it is empty.
        dtype: ``f16`` or ``f32``.

    Raises:
        FormatError: the source is damaged or incomplete.
        UnsupportedFormatError: the architecture, the tokenizer or a tensor type is not known.
        OSError: the target cannot be written, or it is there and not empty.
    """
    if dtype not in DTYPES:
        raise UnsupportedFormatError(
            target_directory, f"cannot be written as {dtype!r} (known: {', '.join(DTYPES)})"
        )
    with closing(open_gguf(source)) as weights:
        config = LlamaConfig.from_gguf_metadata(weights.metadata, weights.tensors, source)
        if config.rope_scaling is not None and config.rope_scaling.kind == "factors":
            raise UnsupportedFormatError(
                source, f"config.json has no way to say the factors of {ROPE_FACTORS}"
            )
        tokenizer = read_gguf_tokenizer(weights.metadata, source)
        template = weights.metadata.get("tokenizer.chat_template")
        documents = {
            "config.json": _config_json(config, dtype),
            "generation_config.json": _generation_json(config, weights),
            "tokenizer.json": tokenizer_json(tokenizer),
            "tokenizer_config.json": tokenizer_config_json(
                tokenizer, template if isinstance(template, str) else None
            ),
        }
        target_directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target_directory.parent, prefix=".converting-"))
        try:
            for name, content in documents.items():
                text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
                (temporary / name).write_text(text, encoding="utf-8")
            _write_safetensors(temporary / "model.safetensors", config, weights, dtype)
            temporary.chmod(0o755)
            # Replaces an empty directory and refuses any other.
            temporary.rename(target_directory)
        except BaseException:
            shutil.rmtree(temporary)
            raise


def _open_directory(directory: Path) -> SafetensorsWeights:
    try:
        found = find_weights(directory, format=ModelFormat.SAFETENSORS, quantization=None)
    except (WeightsAbsentError, WeightsFaultyError) as error:
        raise FormatError(directory, str(error)) from error
    return open_safetensors(found.weights)


@contextmanager
def _replaced(target: Path) -> Iterator[Path]:
    """Give a temporary file beside ``target`` that takes its place in the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _config_json(config: LlamaConfig, dtype: str) -> dict[str, Any]:
    qwen2 = config.architecture == "qwen2"
    content: dict[str, Any] = {
        "architectures": ["Qwen2ForCausalLM" if qwen2 else "LlamaForCausalLM"],
        "model_type": config.architecture,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.context_length,
        "vocab_size": config.vocab_size,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": config.tied_embeddings,
        "torch_dtype": {"f16": "float16", "f32": "float32"}[dtype],
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids[0] if config.eos_token_ids else None,
    }
    if not qwen2:
        content["attention_bias"] = config.attention_bias
    if config.rope_scaling is not None:
        content["rope_scaling"] = {"rope_type": "linear", "factor": config.rope_scaling.factor}
    return content


def _generation_json(config: LlamaConfig, weights: GgufWeights) -> dict[str, Any]:
    others = (weights.metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("eot", "eom"))
    ends = [*config.eos_token_ids, *(end for end in others if isinstance(end, int))]
    return {"bos_token_id": config.bos_token_id, "eos_token_id": list(dict.fromkeys(ends))}


def _write_safetensors(path: Path, config: LlamaConfig, weights: GgufWeights, dtype: str) -> None:
    """Write the tensors by name in sorted order, as the format's own library does."""
    expected = expected_tensors(config)
    size = 2 if dtype == "f16" else 4
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in sorted(expected):
        end = position + size * int(np.prod(expected[name]))
        header[name] = {
            "dtype": DTYPES[dtype],
            "shape": list(expected[name]),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(expected):
            stored = gguf_name(name) or name
            values = as_hf_tensor(stored, load_tensor(weights, stored, expected[name]), config)
            if dtype == "f16":
                stream.write(as_half(weights, stored, values).tobytes())
            else:
                stream.write(np.ascontiguousarray(values).tobytes())
        stream.flush()
        os.fsync(stream.fileno())
