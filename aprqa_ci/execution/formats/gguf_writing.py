"""Writing the parts of a GGUF file of the Llama family through the ``gguf`` library.

The library is imported in the functions: that takes longer than all the rest, and few runs convert.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.gguf import GgufWeights
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import (
    LlamaConfig,
    as_gguf_tensor,
    expected_tensors,
    gguf_name,
)
from aprqa_ci.execution.formats.rope import ROPE_FACTORS, rope_frequencies
from aprqa_ci.execution.formats.safetensors import SafetensorsWeights
from aprqa_ci.execution.formats.tokenizer_model import TokenizerModel
from aprqa_ci.execution.formats.weights import FormatError

if TYPE_CHECKING:
    import gguf

__all__ = [
    "BLOCK_TYPES",
    "add_dimensions",
    "add_tokenizer",
    "as_half",
    "load_tensor",
    "quantized_and_back",
    "write_tensors",
]

BLOCK_TYPES = frozenset({"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
"""The quantized types that can be written here."""
_UNUSED, _CONTROL, _USER_DEFINED, _NORMAL = 5, 3, 4, 1


def add_dimensions(writer: "gguf.GGUFWriter", config: LlamaConfig) -> None:
    """Write the dimensions and settings of the computation."""
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
        import gguf  # noqa: PLC0415 - see above

        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)


def add_tokenizer(
    writer: "gguf.GGUFWriter", config: LlamaConfig, tokenizer: TokenizerModel, directory: Path
) -> None:
    """Write tokens, merges, special tokens and the chat template.

    Raises:
        FormatError: the tokenizer has more tokens than the embedding has rows, or a file beside
            it cannot be read.
    """
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


def write_tensors(
    writer: "gguf.GGUFWriter",
    config: LlamaConfig,
    weights: SafetensorsWeights,
    quantization: str,
) -> None:
    """Write the head and then tensor by tensor, of which only one is in memory."""
    import gguf  # noqa: PLC0415 - see above

    asked = gguf.GGMLQuantizationType[quantization.upper()]
    label = "ALL_F32" if quantization == "f32" else f"MOSTLY_{quantization.upper()}"
    writer.add_file_type(gguf.LlamaFileType[label])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    divisors = _llama3_divisors(config)
    expected = expected_tensors(config)
    if divisors is not None:
        writer.add_tensor_info(ROPE_FACTORS, divisors.shape, divisors.dtype, divisors.nbytes)
    kinds = {name: _stored_kind(shape, asked) for name, shape in expected.items()}
    for name, shape in expected.items():
        block, size = gguf.GGML_QUANT_SIZES[kinds[name]]
        nbytes = int(np.prod(shape)) // block * size
        stored = gguf_name(name) or name
        # The type is always given, so that the shape is taken as it is, in elements.
        writer.add_tensor_info(stored, shape, np.dtype(np.float32), nbytes, raw_dtype=kinds[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if divisors is not None:
        writer.write_tensor_data(divisors)
    for name, shape in expected.items():
        values = np.ascontiguousarray(
            as_gguf_tensor(name, load_tensor(weights, name, shape), config)
        )
        writer.write_tensor_data(_packed(weights, name, values, kinds[name]))


def quantized_and_back(
    values: npt.NDArray[np.float32], type_name: str
) -> npt.NDArray[np.float32] | None:
    """Return what is left of values that are stored in a type and read again.

    Args:
        values: a matrix.
        type_name: GGUF's name of the type, ``Q4_0``.

    Returns:
        The values; nothing where the type is not written here, or its blocks do not fit the rows.
    """
    if type_name not in BLOCK_TYPES:
        return None
    import gguf  # noqa: PLC0415 - see above

    kind = gguf.GGMLQuantizationType[type_name]
    if values.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        return None
    with np.errstate(all="ignore"):
        back: npt.NDArray[np.float32] = gguf.quants.dequantize(
            gguf.quants.quantize(np.ascontiguousarray(values), kind), kind
        )
    return back


def _packed(
    weights: SafetensorsWeights,
    name: str,
    values: npt.NDArray[np.float32],
    kind: "gguf.GGMLQuantizationType",
) -> npt.NDArray[Any]:
    import gguf  # noqa: PLC0415 - see above

    if kind is gguf.GGMLQuantizationType.F32:
        return values
    if kind is gguf.GGMLQuantizationType.F16:
        return as_half(weights, name, values)
    with np.errstate(all="ignore"):
        return gguf.quants.quantize(values, kind)


def _stored_kind(
    shape: tuple[int, ...], asked: "gguf.GGMLQuantizationType"
) -> "gguf.GGMLQuantizationType":
    import gguf  # noqa: PLC0415 - see above

    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    block, _ = gguf.GGML_QUANT_SIZES[asked]
    return gguf.GGMLQuantizationType.F16 if shape[-1] % block else asked


def _llama3_divisors(config: LlamaConfig) -> npt.NDArray[np.float32] | None:
    if config.rope_scaling is None or config.rope_scaling.kind != "llama3":
        return None
    frequencies = rope_frequencies(config.head_dim, config.rope_theta)
    return config.rope_scaling.divisors(frequencies).astype(np.float32)


def load_tensor(
    weights: SafetensorsWeights | GgufWeights, name: str, shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Load a tensor and require the shape that the configuration gives it."""
    values = weights.load(name)
    if values.shape != shape:
        place = weights.tensors[name].file
        raise FormatError(place, f"tensor {name!r} is {values.shape} and not {shape}")
    return values


def as_half(
    weights: SafetensorsWeights | GgufWeights, name: str, values: npt.NDArray[np.float32]
) -> npt.NDArray[np.float16]:
    """Narrow a tensor to float16, which must not make a number infinite.

    Raises:
        FormatError: a value is too large.
    """
    with np.errstate(all="ignore"):
        halves = values.astype(np.float16)
    if np.isinf(halves).any() and not np.isinf(values).any():
        place = weights.tensors[name].file
        raise FormatError(place, f"tensor {name!r} has values too large for float16")
    return halves
