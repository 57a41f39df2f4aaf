"""The computation of the Llama family: RMSNorm, rotary attention with grouped heads, SwiGLU.

Everything is float32, as transformers computes a model that it loads in float32. Matrices stay in
the order of the files, (outputs, inputs), which a product with the transposed view reads row by
row: the fastest order for the one-token products that generation consists of.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.llama import LlamaConfig
from aprqa_ci.execution.formats.rope import rope_frequencies

__all__ = ["LlamaNetwork"]

_Floats = npt.NDArray[np.float32]

_TOKENS_AT_ONCE = 256
"""How many tokens of a prompt are computed together: the scores of one part, heads x part x
context, then stay small for any length of prompt."""
_FIRST_CAPACITY = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layer:
    attention_norm: _Floats
    queries_keys_values: _Floats
    """The three projections on top of each other: one product instead of three."""
    queries_keys_values_bias: _Floats | None
    output: _Floats
    output_bias: _Floats | None
    mlp_norm: _Floats
    gate_up: _Floats
    down: _Floats


class LlamaNetwork:
    """A network and the keys and values of the tokens that it has seen.

    Args:
        config: the dimensions.
        load: returns a tensor by its Hugging Face name, in Hugging Face layout.
        rope_divisors: what each rotary frequency is divided by, shape (head_dim / 2,); without it
            the configuration says.
    """

    def __init__(
        self,
        config: LlamaConfig,
        load: Callable[[str], _Floats],
        rope_divisors: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.config = config
        self._embedding = load("model.embed_tokens.weight")
        self._layers = [_load_layer(config, load, layer) for layer in range(config.num_layers)]
        self._norm = load("model.norm.weight")
        self._unembedding = self._embedding if config.tied_embeddings else load("lm_head.weight")
        frequencies = rope_frequencies(config.head_dim, config.rope_theta)
        if rope_divisors is None and config.rope_scaling is not None:
            rope_divisors = config.rope_scaling.divisors(frequencies)
        if rope_divisors is not None:
            frequencies = frequencies / rope_divisors
        self._frequencies = frequencies
        self._scale = np.float32(config.head_dim**-0.5)
        self.reset()

    def reset(self) -> None:
        """Forget every token."""
        config = self.config
        self._seen = 0
        self._capacity = 0
        nothing = np.zeros((config.num_kv_heads, 0, config.head_dim), dtype=np.float32)
        self._keys = [nothing] * config.num_layers
        self._values = [nothing] * config.num_layers
        self._cos = self._sin = np.zeros((0, 1, config.head_dim // 2), dtype=np.float32)

    def forward(self, tokens: Sequence[int]) -> _Floats:
        """Take further tokens and return the logits of the one that follows, shape (vocabulary,).

        Args:
            tokens: at least one id below the vocabulary size.
        """
        hidden = self._embedding[:0]
        # Damaged weights may overflow; what comes of it is the oracles' to find.
        with np.errstate(all="ignore"):
            for start in range(0, len(tokens), _TOKENS_AT_ONCE):
                hidden = self._part(tokens[start : start + _TOKENS_AT_ONCE])
            last = self._normalized(hidden[-1:], self._norm)
            logits: _Floats = (last @ self._unembedding.T)[0]
        return logits

    def _part(self, tokens: Sequence[int]) -> _Floats:
        count = len(tokens)
        self._reserve(self._seen + count)
        positions = slice(self._seen, self._seen + count)
        mask = None
        if count > 1:
            everyone = np.arange(positions.stop)
            mask = np.where(
                everyone > everyone[positions, None], np.float32(-np.inf), np.float32(0)
            )
        width = self.config.intermediate_size
        hidden: _Floats = self._embedding[np.asarray(tokens)]
        for number, layer in enumerate(self._layers):
            hidden = hidden + self._attention(number, layer, hidden, positions, mask)
            inner = self._normalized(hidden, layer.mlp_norm) @ layer.gate_up.T
            gate, up = inner[:, :width], inner[:, width:]
            hidden = hidden + (gate / (1 + np.exp(-gate)) * up) @ layer.down.T
        self._seen = positions.stop
        return hidden

    def _attention(
        self,
        number: int,
        layer: _Layer,
        hidden: _Floats,
        positions: slice,
        mask: _Floats | None,
    ) -> _Floats:
        config = self.config
        count, size = len(hidden), config.head_dim
        heads, groups = config.num_heads, config.num_kv_heads
        mixed = self._normalized(hidden, layer.attention_norm) @ layer.queries_keys_values.T
        if layer.queries_keys_values_bias is not None:
            mixed += layer.queries_keys_values_bias
        vectors: _Floats = mixed.reshape(count, heads + 2 * groups, size)
        turned = self._rotated(vectors[:, : heads + groups], positions)
        self._keys[number][:, positions] = turned[:, heads:].swapaxes(0, 1)
        self._values[number][:, positions] = vectors[:, heads + groups :].swapaxes(0, 1)
        keys = self._keys[number][:, : positions.stop]
        values = self._values[number][:, : positions.stop]
        # The heads that share a key-value head are computed as further rows of one product.
        rows = heads // groups * count
        queries: _Floats = turned[:, :heads].reshape(count, groups, heads // groups, size)
        queries = queries.transpose(1, 2, 0, 3).reshape(groups, rows, size)
        scores: _Floats = queries @ keys.swapaxes(1, 2) * self._scale
        if mask is not None:
            scores = scores.reshape(groups, heads // groups, *mask.shape) + mask
            scores = scores.reshape(groups, rows, positions.stop)
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        answers: _Floats = (scores @ values).reshape(groups, heads // groups, count, size)
        joined: _Floats = answers.transpose(2, 0, 1, 3).reshape(count, heads * size)
        result: _Floats = joined @ layer.output.T
        if layer.output_bias is not None:
            result += layer.output_bias
        return result

    def _rotated(self, vectors: _Floats, positions: slice) -> _Floats:
        """Turn each pair (i, i + head_dim / 2) by its position's angle; shape (n, heads, size)."""
        cos, sin = self._cos[positions], self._sin[positions]
        half = self.config.head_dim // 2
        first, second = vectors[..., :half], vectors[..., half:]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def _normalized(self, vectors: _Floats, weight: _Floats) -> _Floats:
        squares = np.add.reduce(vectors * vectors, axis=-1, keepdims=True)
        mean = squares / np.float32(self.config.hidden_size)
        root: _Floats = np.sqrt(mean + np.float32(self.config.rms_norm_eps))
        return vectors / root * weight

    def _reserve(self, tokens: int) -> None:
        """Make room for that many tokens in all; room is doubled, so growing costs little."""
        if tokens <= self._capacity:
            return
        capacity = max(_FIRST_CAPACITY, self._capacity)
        while capacity < tokens:
            capacity *= 2
        angles = np.arange(capacity)[:, None] * self._frequencies
        self._cos = np.cos(angles).astype(np.float32)[:, None]
        self._sin = np.sin(angles).astype(np.float32)[:, None]
        self._keys = [_grown(entry, capacity, self._seen) for entry in self._keys]
        self._values = [_grown(entry, capacity, self._seen) for entry in self._values]
        self._capacity = capacity


def _load_layer(config: LlamaConfig, load: Callable[[str], _Floats], layer: int) -> _Layer:
    def tensor(name: str) -> _Floats:
        return load(f"model.layers.{layer}.{name}")

    projections = [f"self_attn.{name}_proj" for name in "qkv"]
    return _Layer(
        attention_norm=tensor("input_layernorm.weight"),
        queries_keys_values=np.concatenate([tensor(f"{name}.weight") for name in projections]),
        queries_keys_values_bias=(
            np.concatenate([tensor(f"{name}.bias") for name in projections])
            if config.attention_bias
            else None
        ),
        output=tensor("self_attn.o_proj.weight"),
        output_bias=tensor("self_attn.o_proj.bias") if config.output_bias else None,
        mlp_norm=tensor("post_attention_layernorm.weight"),
        gate_up=np.concatenate([tensor("mlp.gate_proj.weight"), tensor("mlp.up_proj.weight")]),
        down=tensor("mlp.down_proj.weight"),
    )


def _grown(entry: _Floats, capacity: int, used: int) -> _Floats:
    larger = np.empty((entry.shape[0], capacity, entry.shape[2]), dtype=np.float32)
    larger[:, :used] = entry[:, :used]
    return larger
