"""What a configuration or GGUF metadata claim of a model, whatever its architecture.

This reading knows the spellings of the field and no architecture, so that it can compare claims
with tensors where no engine of ours could run the model.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aprqa_ci.execution.formats.settings import brief

__all__ = ["DIMENSIONS", "Claims", "claims_of_config", "claims_of_metadata", "ids_of"]

_MAX_INTEGER = 1 << 31

DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "num_layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "hidden_dim": ("hidden_size", "n_embd", "d_model"),
    "num_heads": ("num_attention_heads", "n_head", "n_heads"),
    "num_kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "head_dim": ("head_dim", "kv_channels"),
    "intermediate_dim": ("intermediate_size", "n_inner", "ffn_hidden_size", "ffn_dim"),
    "vocab_size": ("vocab_size", "padded_vocab_size"),
    "context_length": ("max_position_embeddings", "n_positions", "max_sequence_length"),
}
"""Every dimension by the name that playbooks declare it by, with its spellings in config.json."""

_METADATA_KEYS = {
    "num_layers": "block_count",
    "hidden_dim": "embedding_length",
    "num_heads": "attention.head_count",
    "num_kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_dim": "feed_forward_length",
    "vocab_size": "vocab_size",
    "context_length": "context_length",
}
_NORM_EPS = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_eps", "norm_epsilon")
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
_SPECIAL = ("bos", "eos", "pad", "unk")
_SPECIAL_KEYS = {"bos": "bos", "eos": "eos", "pad": "padding", "unk": "unknown"}

# Settings by which attention has another geometry than heads × head_dim in each layer.
_OTHER_GEOMETRY = (
    "kv_lora_rank",
    "q_lora_rank",
    "attn_output_gate",
    "global_head_dim",
    "num_global_key_value_heads",
    "block_configs",
    "linear_num_key_heads",
    "attention.kv_lora_rank",
    "attention.q_lora_rank",
)


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What is claimed; absent where nothing is."""

    source: str
    """What claims it, for messages: ``config.json`` or ``the GGUF metadata``."""
    architecture: str | None
    dimensions: Mapping[str, int]
    """By the names of :data:`DIMENSIONS`; only what is stated, or follows by the field's rules:
    KV heads default to heads, head_dim to hidden / heads."""
    rope_theta: float | None
    norm_eps: float | None
    special_tokens: Mapping[str, frozenset[int]]
    """``bos``, ``eos``, ``pad``, ``unk``: the ids; several ends may be named."""
    dtype: str | None
    """The storage type that the configuration says (config.json only)."""
    quantized: bool = False
    """Whether the configuration says that the weights are stored in a quantized form."""
    other_geometry: str | None = None
    """A setting by which the shapes of attention follow another rule."""
    extra_layers: int = 0
    """Layers beyond the count that may be there, for predicting further tokens."""
    separate_embedding_size: bool = False
    """Whether the embedding has a width of its own."""
    problems: tuple[str, ...] = ()
    """Values that cannot be: a negative size, a text for a number."""

    def get(self, dimension: str) -> int | None:
        """Return one dimension, or nothing if it is not claimed."""
        return self.dimensions.get(dimension)


def claims_of_config(config: Mapping[str, Any]) -> Claims:
    """Read the content of config.json; of a model with more than text, its text part."""
    config = _text_part(config)
    reader = _Reader(config, "config.json")
    for dimension, spellings in DIMENSIONS.items():
        reader.dimension(dimension, spellings)
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        reader.dimensions["num_kv_heads"] = 1
    reader.derive()
    rope = config.get("rope_parameters")
    nested = rope.get("rope_theta") if isinstance(rope, dict) else None
    names = config.get("architectures")
    architecture = names[0] if isinstance(names, list) and names else config.get("model_type")
    geometry = next((key for key in _OTHER_GEOMETRY if config.get(key)), None)
    return Claims(
        source=reader.source,
        architecture=architecture if isinstance(architecture, str) else None,
        dimensions=reader.dimensions,
        rope_theta=_number(config.get("rope_theta", nested)),
        norm_eps=next((found for key in _NORM_EPS if (found := _number(config.get(key)))), None),
        special_tokens={
            name: ids for name in _SPECIAL if (ids := ids_of(config.get(f"{name}_token_id")))
        },
        dtype=_text(config.get("dtype")) or _text(config.get("torch_dtype")),
        quantized=bool(config.get("quantization_config")),
        other_geometry=geometry or reader.uneven,
        extra_layers=_small(config.get("num_nextn_predict_layers")),
        separate_embedding_size=bool(
            config.get("word_embed_proj_dim") or config.get("embedding_size")
        ),
        problems=tuple(reader.problems),
    )


def claims_of_metadata(metadata: Mapping[str, Any]) -> Claims:
    """Read the metadata of a GGUF file."""
    architecture = _text(metadata.get("general.architecture"))
    prefix = f"{architecture}."
    reader = _Reader(metadata, "the GGUF metadata")
    if architecture is None:
        reader.problems.append("general.architecture is missing")
    for dimension, key in _METADATA_KEYS.items():
        reader.dimension(dimension, (prefix + key,))
    tokens = metadata.get("tokenizer.ggml.tokens")
    if isinstance(tokens, list):
        # The tokens stand in for a vocabulary size that most files leave out.
        reader.dimensions.setdefault("vocab_size", len(tokens))
    reader.derive()
    eps = ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon")
    geometry = next((key for key in _OTHER_GEOMETRY if metadata.get(prefix + key)), None)
    return Claims(
        source=reader.source,
        architecture=architecture,
        dimensions=reader.dimensions,
        rope_theta=_number(metadata.get(prefix + "rope.freq_base")),
        norm_eps=next(
            (found for key in eps if (found := _number(metadata.get(prefix + key)))), None
        ),
        special_tokens={
            name: ids
            for name, key in _SPECIAL_KEYS.items()
            if (ids := ids_of(metadata.get(f"tokenizer.ggml.{key}_token_id")))
        },
        dtype=None,
        other_geometry=geometry or reader.uneven,
        problems=tuple(reader.problems),
    )


class _Reader:
    def __init__(self, values: Mapping[str, Any], source: str) -> None:
        self._values = values
        self.source = source
        self.dimensions: dict[str, int] = {}
        self.problems: list[str] = []
        self.uneven: str | None = None
        """A key whose value differs from layer to layer."""

    def dimension(self, name: str, spellings: tuple[str, ...]) -> None:
        for key in spellings:
            value = self._values.get(key)
            if value is None:
                continue
            if isinstance(value, list) and value:
                if any(entry != value[0] for entry in value):
                    self.uneven = key
                    return
                value = value[0]
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_INTEGER:
                self.dimensions[name] = value
            else:
                self.problems.append(f"{key} is {brief(value)}, not a whole number above 0")
            return

    def derive(self) -> None:
        hidden, heads = self.dimensions.get("hidden_dim"), self.dimensions.get("num_heads")
        if heads is None or self.uneven:
            return
        self.dimensions.setdefault("num_kv_heads", heads)
        if hidden is not None and "head_dim" not in self.dimensions:
            if hidden % heads:
                self.problems.append(
                    f"{hidden} hidden elements cannot be shared by {heads} heads, "
                    "and no head_dim is given"
                )
            else:
                self.dimensions["head_dim"] = hidden // heads


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in _TEXT_CONFIGS:
        nested = config.get(key)
        if isinstance(nested, dict) and "hidden_size" not in config:
            # What the text part leaves out (dtype, token ids) stands beside it.
            return {**config, **nested}
    return config


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number may be too large for a float, and compares all the same.
    return float(value) if 0 < value <= sys.float_info.max else None


def ids_of(value: object) -> frozenset[int]:
    """Return the token ids in a setting that may be one, a list of them, or nothing."""
    entries = value if isinstance(value, list) else [value]
    return frozenset(
        entry for entry in entries if isinstance(entry, int) and not isinstance(entry, bool)
    )


def _small(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= 16 else 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
