"""The Llama family as files describe it: dimensions, tensor names, shapes and layouts.

Covered are Llama (with Mistral where its sliding window never closes) and Qwen2. A setting that
changes the computation and is not known here is refused by name, never passed over.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.ggml_types import file_type_name
from aprqa_ci.execution.formats.rope import RopeScaling, gguf_rope_scaling, hf_rope
from aprqa_ci.execution.formats.settings import Settings, brief
from aprqa_ci.execution.formats.weights import (
    FormatError,
    TensorInfo,
    UnsupportedArchitectureError,
    UnsupportedFormatError,
)

__all__ = [
    "LlamaConfig",
    "as_gguf_tensor",
    "as_hf_tensor",
    "expected_tensors",
    "gguf_name",
    "hf_name",
    "optional_tensors",
]

_Architecture: TypeAlias = Literal["llama", "qwen2"]

_HF_ARCHITECTURES: Mapping[str, _Architecture] = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "llama",
    "Qwen2ForCausalLM": "qwen2",
}
_HF_KINDS = frozenset({"llama", "mistral", "qwen2"})
"""The ``model_type`` of these. One beside another architecture is a contradiction: the file may be
damaged, and nobody who heeds the one name alone is to run it."""
_GGUF_ARCHITECTURES: Mapping[str, _Architecture] = {"llama": "llama", "qwen2": "qwen2"}
_MAX_LAYERS = 1 << 12

_BLOCK_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP_NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    # Frequency factors have no tensor in a Hugging Face model; the name stays.
    "rope_freqs.weight": "rope_freqs.weight",
}
_FROM_BLOCK_NAMES = {ours: theirs for theirs, ours in _BLOCK_NAMES.items()}
_FROM_TOP_NAMES = {ours: theirs for theirs, ours in _TOP_NAMES.items()}
_HF_BLOCK = re.compile(r"model\.layers\.(\d{1,5})\.(.+)\.(weight|bias)")
_GGUF_BLOCK = re.compile(r"blk\.(\d{1,5})\.(.+)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """Every dimension and setting that inference needs."""

    architecture: _Architecture
    """The kind of computation, as GGUF names it; Mistral computes like Llama."""
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    """Rows of the embedding; a tokenizer may have fewer tokens."""
    rms_norm_eps: float
    rope_theta: float
    context_length: int
    """The most tokens the model was made for."""
    tied_embeddings: bool
    """Whether the output projection is the embedding."""
    attention_bias: bool
    """Whether the query, key and value projections have a bias."""
    output_bias: bool = False
    """Whether the attention's output projection has one."""
    rope_scaling: RopeScaling | None = None
    dtype: str | None = None
    """The storage type that the file's label says, in the file's own words."""
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()

    @classmethod
    def from_config_json(
        cls, config: Mapping[str, Any], source: Path | str = "config.json"
    ) -> "LlamaConfig":
        """Read the content of a Hugging Face ``config.json``.

        Args:
            config: the decoded JSON object.
            source: the file named in messages.

        Raises:
            FormatError: a dimension is missing or impossible; all of them are named.
            UnsupportedArchitectureError: the architecture is not known here.
            UnsupportedFormatError: a setting is not, or architecture and kind contradict.
        """
        architectures = config.get("architectures")
        if not (isinstance(architectures, list) and architectures):
            raise FormatError(source, "architectures is missing or names none")
        try:
            architecture = _known(architectures[0], _HF_ARCHITECTURES, source)
        except UnsupportedArchitectureError as error:
            if config.get("model_type") in _HF_KINDS:
                raise UnsupportedFormatError(source, error.what) from error
            raise
        settings = Settings(config, source)
        heads = settings.integer("num_attention_heads")
        hidden = settings.integer("hidden_size")
        context = settings.integer("max_position_embeddings", most=1 << 30)
        qwen2 = architecture == "qwen2"
        bias = settings.boolean("attention_bias", default=False)
        rope_theta, scaling = hf_rope(config, source, context)
        _refuse_hf_settings(config, source, context)
        model = cls(
            architecture=architecture,
            hidden_size=hidden,
            num_layers=settings.integer("num_hidden_layers", most=_MAX_LAYERS),
            num_heads=heads,
            num_kv_heads=settings.integer("num_key_value_heads", default=heads),
            head_dim=settings.integer("head_dim", default=hidden // heads),
            intermediate_size=settings.integer("intermediate_size"),
            vocab_size=settings.integer("vocab_size"),
            rms_norm_eps=settings.number("rms_norm_eps"),
            rope_theta=rope_theta,
            context_length=context,
            tied_embeddings=settings.boolean("tie_word_embeddings", default=False),
            attention_bias=bias or qwen2,
            output_bias=bias and not qwen2,
            rope_scaling=scaling,
            dtype=_text(config.get("dtype") or config.get("torch_dtype")),
            bos_token_id=_token_id(config.get("bos_token_id")),
            eos_token_ids=_token_ids(config.get("eos_token_id")),
        )
        _check(model, settings)
        return model

    @classmethod
    def from_gguf_metadata(
        cls,
        metadata: Mapping[str, Any],
        tensors: Mapping[str, TensorInfo],
        source: Path | str = "GGUF metadata",
    ) -> "LlamaConfig":
        """Read the metadata of a GGUF file; its tensors show what the metadata leave open.

        Raises:
            FormatError: a dimension is missing or impossible; all of them are named.
            UnsupportedArchitectureError: the architecture is not known here.
            UnsupportedFormatError: a setting is not.
        """
        if "general.architecture" not in metadata:
            raise FormatError(source, "general.architecture is missing")
        architecture = _known(metadata["general.architecture"], _GGUF_ARCHITECTURES, source)
        settings = Settings(metadata, source, prefix=f"{architecture}.")
        heads = settings.integer("attention.head_count")
        hidden = settings.integer("embedding_length")
        head_dim = settings.integer("attention.key_length", default=hidden // heads)
        _refuse_gguf_settings(metadata, source, architecture, head_dim)
        tokens = metadata.get("tokenizer.ggml.tokens")
        embedding = tensors.get("token_embd.weight")
        # Not every converter writes vocab_size: the rows of the embedding say it as well.
        vocabulary = embedding.shape[0] if embedding is not None and embedding.shape else 0
        if not vocabulary and isinstance(tokens, list):
            vocabulary = len(tokens)
        model = cls(
            architecture=architecture,
            hidden_size=hidden,
            num_layers=settings.integer("block_count", most=_MAX_LAYERS),
            num_heads=heads,
            num_kv_heads=settings.integer("attention.head_count_kv", default=heads),
            head_dim=head_dim,
            intermediate_size=settings.integer("feed_forward_length"),
            vocab_size=settings.integer("vocab_size", default=vocabulary or None),
            rms_norm_eps=_single(settings.number("attention.layer_norm_rms_epsilon")),
            rope_theta=_single(settings.number("rope.freq_base", default=10000.0)),
            context_length=settings.integer("context_length", most=1 << 30),
            tied_embeddings="output.weight" not in tensors,
            attention_bias=architecture == "qwen2" or "blk.0.attn_q.bias" in tensors,
            output_bias="blk.0.attn_output.bias" in tensors,
            rope_scaling=gguf_rope_scaling(metadata, tensors, source, architecture),
            dtype=file_type_name(metadata.get("general.file_type")),
            bos_token_id=_token_id(metadata.get("tokenizer.ggml.bos_token_id")),
            eos_token_ids=_token_ids(metadata.get("tokenizer.ggml.eos_token_id")),
        )
        _check(model, settings)
        return model


def expected_tensors(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Return every tensor that the model needs, by Hugging Face name, with its shape."""
    hidden = config.hidden_size
    queries = config.num_heads * config.head_dim
    keys = config.num_kv_heads * config.head_dim
    block: dict[str, tuple[int, ...]] = {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (queries, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, queries),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (config.intermediate_size, hidden),
        "mlp.up_proj.weight": (config.intermediate_size, hidden),
        "mlp.down_proj.weight": (hidden, config.intermediate_size),
    }
    if config.attention_bias:
        block["self_attn.q_proj.bias"] = (queries,)
        block["self_attn.k_proj.bias"] = block["self_attn.v_proj.bias"] = (keys,)
    if config.output_bias:
        block["self_attn.o_proj.bias"] = (hidden,)
    expected: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (config.vocab_size, hidden)
    }
    for layer in range(config.num_layers):
        for name, shape in block.items():
            expected[f"model.layers.{layer}.{name}"] = shape
    expected["model.norm.weight"] = (hidden,)
    if not config.tied_embeddings:
        expected["lm_head.weight"] = (config.vocab_size, hidden)
    return expected


def optional_tensors(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Return the tensors that may be there without being needed, by Hugging Face name."""
    half = (config.head_dim // 2,)
    optional: dict[str, tuple[int, ...]] = {
        f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": half
        for layer in range(config.num_layers)
    }
    optional["rope_freqs.weight"] = half
    if config.tied_embeddings:
        optional["lm_head.weight"] = (config.vocab_size, config.hidden_size)
    return optional


def hf_name(gguf_name: str) -> str | None:
    """Return the Hugging Face name of a GGUF tensor, or nothing if the family has no such one."""
    if gguf_name in _FROM_TOP_NAMES:
        return _FROM_TOP_NAMES[gguf_name]
    found = _GGUF_BLOCK.fullmatch(gguf_name)
    if found is None or found[2] not in _FROM_BLOCK_NAMES:
        return None
    return f"model.layers.{found[1]}.{_FROM_BLOCK_NAMES[found[2]]}.{found[3]}"


def gguf_name(hf_name: str) -> str | None:
    """Return the GGUF name of a Hugging Face tensor, or nothing if GGUF has no such one."""
    if hf_name in _TOP_NAMES:
        return _TOP_NAMES[hf_name]
    found = _HF_BLOCK.fullmatch(hf_name)
    if found is None or found[2] not in _BLOCK_NAMES:
        return None
    return f"blk.{found[1]}.{_BLOCK_NAMES[found[2]]}.{found[3]}"


def as_hf_tensor(
    name: str, array: npt.NDArray[np.float32], config: LlamaConfig
) -> npt.NDArray[np.float32]:
    """Return a tensor of a GGUF file in the row order of Hugging Face.

    GGUF files of architecture ``llama`` keep the two halves of each rotary pair side by side,
    Hugging Face keeps them half a head apart. Only query and key rows differ; Qwen2 has none.

    Args:
        name: the tensor's GGUF or Hugging Face name.
        array: the tensor as the GGUF file has it.
        config: the model's dimensions.
    """
    heads = _permuted_heads(name, config)
    if heads is None:
        return array
    pairs = array.reshape(heads, config.head_dim // 2, 2, *array.shape[1:])
    return pairs.swapaxes(1, 2).reshape(array.shape)


def as_gguf_tensor(
    name: str, array: npt.NDArray[np.float32], config: LlamaConfig
) -> npt.NDArray[np.float32]:
    """Return a tensor of a Hugging Face model in the row order of GGUF (the other way round)."""
    heads = _permuted_heads(name, config)
    if heads is None:
        return array
    halves = array.reshape(heads, 2, config.head_dim // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def _permuted_heads(name: str, config: LlamaConfig) -> int | None:
    """Return the heads of a tensor whose rows GGUF permutes, or nothing."""
    if config.architecture != "llama":
        return None
    if ".attn_q." in name or ".q_proj." in name:
        return config.num_heads
    if ".attn_k." in name or ".k_proj." in name:
        return config.num_kv_heads
    return None


def _known(name: object, known: Mapping[str, _Architecture], source: Path | str) -> _Architecture:
    if not isinstance(name, str) or name not in known:
        raise UnsupportedArchitectureError(
            source,
            f"the architecture {brief(name)} is not known here (known: {', '.join(known)})",
        )
    return known[name]


def _check(config: LlamaConfig, settings: Settings) -> None:
    """Raise what was wrong with the settings or, those being right, with them together."""
    settings.check()
    if config.num_heads % config.num_kv_heads:
        settings.refuse(
            f"{config.num_heads} heads cannot share {config.num_kv_heads} key-value heads"
        )
    if config.head_dim % 2:
        settings.refuse(f"head_dim {config.head_dim} is odd, and rotary embedding needs pairs")
    settings.check()


def _single(value: float) -> float:
    """Return the shortest decimal that is the same float32: 1e-05 for 9.999999747378752e-06.

    GGUF stores these numbers as float32, config.json as decimals; they are to compare equal.
    """
    return float(str(np.float32(value)))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _token_id(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _token_ids(value: object) -> tuple[int, ...]:
    entries: Sequence[object] = value if isinstance(value, list) else (value,)
    return tuple(found for entry in entries if (found := _token_id(entry)) is not None)


def _refuse_hf_settings(config: Mapping[str, Any], source: Path | str, context: int) -> None:
    """Refuse settings that change the computation and are not known here."""
    if config.get("hidden_act", "silu") != "silu":
        raise UnsupportedFormatError(source, f"hidden_act {brief(config['hidden_act'])}")
    if config.get("mlp_bias"):
        raise UnsupportedFormatError(source, "mlp_bias is not known here")
    if config.get("partial_rotary_factor", 1.0) != 1.0:
        raise UnsupportedFormatError(source, "partial_rotary_factor is not known here")
    if config.get("quantization_config"):
        raise UnsupportedFormatError(source, "quantized safetensors are not known here")
    window = config.get("sliding_window")
    if not config.get("use_sliding_window", window is not None):
        return
    if not isinstance(window, int) or window < context:
        raise UnsupportedFormatError(
            source, f"a sliding window of {brief(window)} in a context of {context} tokens"
        )


def _refuse_gguf_settings(
    metadata: Mapping[str, Any], source: Path | str, architecture: str, head_dim: int
) -> None:
    """Refuse settings that change the computation and are not known here."""
    for key, neutral in (
        ("attention.value_length", head_dim),
        ("rope.dimension_count", head_dim),
        ("expert_count", 0),
        ("attention.sliding_window", 0),
        ("attention.scale", 0.0),
        ("logit_scale", 1.0),
        ("embedding_scale", 1.0),
        ("residual_scale", 1.0),
    ):
        value = metadata.get(f"{architecture}.{key}", neutral)
        if value != neutral:
            raise UnsupportedFormatError(
                source, f"{architecture}.{key} is {brief(value)}; only {neutral} is known here"
            )
