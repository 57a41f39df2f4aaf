"""Converting a Llama-family model between safetensors and GGUF.

The same source gives the same bytes. Only the target is written, through a temporary file or
directory beside it, so that it is there whole or not at all.
"""

import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.gguf import GgufWeights, open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import (
    LlamaConfig,
    as_gguf_tensor,
    as_hf_tensor,
    expected_tensors,
    gguf_name,
)
from aprqa_ci.execution.formats.rope import ROPE_FACTORS, rope_frequencies
from aprqa_ci.execution.formats.safetensors import SafetensorsWeights, open_safetensors
from aprqa_ci.execution.formats.tokenizer_model import (
    TokenizerModel,
    read_gguf_tokenizer,
    read_tokenizer_directory,
)
from aprqa_ci.execution.formats.tokenizer_writing import tokenizer_config_json, tokenizer_json
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.weight_files import WeightsAbsentError, WeightsFaultyError, find_weights
from aprqa_ci.vocabulary import ModelFormat

if TYPE_CHECKING:
    import gguf

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

_UNUSED, _CONTROL, _USER_DEFINED, _NORMAL = 5, 3, 4, 1


def convert_safetensors_to_gguf(source_directory: Path, target: Path, quantization: str) -> None:
    """Write a model directory as one GGUF file.

    Matrices get the asked type; vectors stay F32. A matrix whose rows are not whole blocks of that
    type becomes F16, as llama.cpp's converter does it.

    Args:
        source_directory: holds config.json, tokenizer.json and the weights, in shards or not.
        target: the file to write; one that is there is replaced.
        quantization: one of :data:`QUANTIZATIONS`.

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
    with closing(_open_directory(source_directory)) as weights, _replaced(target) as temporary:
        # Imported here because it takes longer than all the rest, and few runs convert.
        import gguf  # noqa: PLC0415 - see above

        writer = gguf.GGUFWriter(temporary, config.architecture)
        try:
            _add_dimensions(writer, config)
            _add_tokenizer(writer, config, tokenizer, source_directory)
            _add_tensors(writer, config, weights, quantization)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
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


def _add_dimensions(writer: "gguf.GGUFWriter", config: LlamaConfig) -> None:
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_heads)
    writer.add_head_count_kv(config.num_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_vocab_size(config.vocab_size)
    if config.rope_scaling is not None and config.rope_scaling.kind == "linear":
        import gguf  # noqa: PLC0415 - imported by now; this binds the name

        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)


def _add_tokenizer(
    writer: "gguf.GGUFWriter", config: LlamaConfig, tokenizer: TokenizerModel, directory: Path
) -> None:
    if len(tokenizer.tokens) > config.vocab_size:
        raise FormatError(
            directory,
            f"the tokenizer has {len(tokenizer.tokens)} tokens for {config.vocab_size} rows",
        )
    tokens = [*tokenizer.tokens, *[None] * (config.vocab_size - len(tokenizer.tokens))]
    types = [_UNUSED if token is None else _NORMAL for token in tokens]
    for number, added in tokenizer.added.items():
        types[number] = _CONTROL if added.special else _USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tokenizer.pre)
    writer.add_token_list(
        [f"[PAD{number}]" if token is None else token for number, token in enumerate(tokens)]
    )
    writer.add_token_types(types)
    writer.add_token_merges(list(tokenizer.merges))
    writer.add_add_bos_token(tokenizer.add_bos)
    writer.add_add_eos_token(value=False)
    ends = _end_ids(config, tokenizer, directory)
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    if ends:
        writer.add_eos_token_id(ends[0])
    if len(ends) > 1:
        writer.add_eot_token_id(ends[1])
    if tokenizer.pad_id is not None:
        writer.add_pad_token_id(tokenizer.pad_id)
    template = _chat_template(directory)
    if template is not None:
        writer.add_chat_template(template)


def _end_ids(config: LlamaConfig, tokenizer: TokenizerModel, directory: Path) -> list[int]:
    """Return the tokens that end an answer, the tokenizer's own first."""
    path = directory / "generation_config.json"
    declared = read_json_object(path).get("eos_token_id") if path.exists() else None
    further = declared if isinstance(declared, list) else [declared]
    ends = [tokenizer.eos_id, *config.eos_token_ids, *further]
    size = len(tokenizer.tokens)
    return list(dict.fromkeys(end for end in ends if isinstance(end, int) and 0 <= end < size))


def _chat_template(directory: Path) -> str | None:
    """Return the source of the model's chat template: a file of its own goes first."""
    path = directory / "chat_template.jinja"
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FormatError(path, f"cannot be read: {error}") from error
    path = directory / "tokenizer_config.json"
    found = read_json_object(path).get("chat_template") if path.exists() else None
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, dict) and entry.get("name") == "default":
            found = entry.get("template")
    return found if isinstance(found, str) else None


def _add_tensors(
    writer: "gguf.GGUFWriter",
    config: LlamaConfig,
    weights: SafetensorsWeights,
    quantization: str,
) -> None:
    import gguf  # noqa: PLC0415 - imported by now; this binds the name

    kind = gguf.GGMLQuantizationType[quantization.upper()]
    label = "ALL_F32" if quantization == "f32" else f"MOSTLY_{quantization.upper()}"
    writer.add_file_type(gguf.LlamaFileType[label])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if config.rope_scaling is not None and config.rope_scaling.kind == "llama3":
        frequencies = rope_frequencies(config.head_dim, config.rope_theta)
        divisors = config.rope_scaling.divisors(frequencies)
        writer.add_tensor(ROPE_FACTORS, divisors.astype(np.float32))
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    for name, shape in expected_tensors(config).items():
        values = np.ascontiguousarray(as_gguf_tensor(name, _tensor(weights, name, shape), config))
        stored = gguf_name(name) or name
        if len(shape) == 1 or quantization == "f32":
            writer.add_tensor(stored, values)
        elif quantization == "f16" or shape[-1] % block:
            writer.add_tensor(stored, _as_half(weights, name, values))
        else:
            with np.errstate(all="ignore"):
                packed = gguf.quants.quantize(values, kind)
            writer.add_tensor(stored, packed, raw_dtype=kind)


def _tensor(
    weights: SafetensorsWeights | GgufWeights, name: str, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Load a tensor and require the shape that the configuration gives it."""
    values = weights.load(name)
    if values.shape != shape:
        place = weights.tensors[name].file
        raise FormatError(place, f"tensor {name!r} is {values.shape} and not {shape}")
    return values


def _as_half(
    weights: SafetensorsWeights | GgufWeights, name: str, values: npt.NDArray[np.float32]
) -> npt.NDArray[np.float16]:
    with np.errstate(all="ignore"):
        halves = values.astype(np.float16)
    if np.isinf(halves).any() and not np.isinf(values).any():
        place = weights.tensors[name].file
        raise FormatError(place, f"tensor {name!r} has values too large for float16")
    return halves


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
            values = as_hf_tensor(stored, _tensor(weights, stored, expected[name]), config)
            if dtype == "f16":
                stream.write(_as_half(weights, stored, values).tobytes())
            else:
                stream.write(np.ascontiguousarray(values).tobytes())
        stream.flush()
        os.fsync(stream.fileno())
