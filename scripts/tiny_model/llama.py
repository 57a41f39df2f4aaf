"""A Llama in torch, as plain functions over tensors that bear their published names."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Block", "Shape", "hidden_states", "initial_weights", "logits"]

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The dimensions of the model."""

    vocabulary: int
    hidden: int = 128
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 384
    context: int = 512
    rope_theta: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.hidden // self.heads


@dataclass(frozen=True, kw_only=True)
class Block:
    """A stretch of the row that holds several samples padded to one length."""

    start: int
    samples: int
    length: int

    @property
    def end(self) -> int:
        """Where the next stretch begins."""
        return self.start + self.samples * self.length


def initial_weights(shape: Shape, seed: int) -> dict[str, Tensor]:
    """Return fresh weights; the output matrix is the embedding."""
    generator = torch.Generator().manual_seed(seed)

    def matrix(rows: int, columns: int, deviation: float) -> Tensor:
        return (torch.randn(rows, columns, generator=generator) * deviation).requires_grad_()

    def ones() -> Tensor:
        return torch.ones(shape.hidden).requires_grad_()

    inner = 1 / math.sqrt(shape.hidden)
    outer = inner / math.sqrt(2 * shape.layers)
    keys = shape.key_value_heads * shape.head
    weights = {"model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden, 0.02)}
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        weights |= {
            f"{at}input_layernorm.weight": ones(),
            f"{at}self_attn.q_proj.weight": matrix(shape.hidden, shape.hidden, inner),
            f"{at}self_attn.k_proj.weight": matrix(keys, shape.hidden, inner),
            f"{at}self_attn.v_proj.weight": matrix(keys, shape.hidden, inner),
            f"{at}self_attn.o_proj.weight": matrix(shape.hidden, shape.hidden, outer),
            f"{at}post_attention_layernorm.weight": ones(),
            f"{at}mlp.gate_proj.weight": matrix(shape.feed_forward, shape.hidden, inner),
            f"{at}mlp.up_proj.weight": matrix(shape.feed_forward, shape.hidden, inner),
            f"{at}mlp.down_proj.weight": matrix(shape.hidden, shape.feed_forward, outer),
        }
    return weights | {"model.norm.weight": ones()}


def hidden_states(
    weights: Weights, shape: Shape, tokens: Tensor, blocks: Sequence[Block]
) -> Tensor:
    """Return the normalised last hidden states of tokens in one long row.

    Args:
        weights: by name.
        shape: the model's dimensions.
        tokens: all samples one behind the other.
        blocks: how the row falls into samples; what is beyond the last is padding.
    """
    angles = _angles(shape, tokens.numel(), blocks)

    def norm(value: Tensor, name: str) -> Tensor:
        return functional.rms_norm(value, (shape.hidden,), weights[name], shape.epsilon)

    def heads(value: Tensor, name: str, count: int) -> Tensor:
        return _linear(value, weights[name]).view(-1, count, shape.head)

    state = functional.embedding(tokens, weights["model.embed_tokens.weight"])
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        value = norm(state, f"{at}input_layernorm.weight")
        attended = _attention(
            _rotated(heads(value, f"{at}self_attn.q_proj.weight", shape.heads), angles),
            _rotated(heads(value, f"{at}self_attn.k_proj.weight", shape.key_value_heads), angles),
            heads(value, f"{at}self_attn.v_proj.weight", shape.key_value_heads),
            blocks,
        )
        state = state + _linear(attended, weights[f"{at}self_attn.o_proj.weight"])
        value = norm(state, f"{at}post_attention_layernorm.weight")
        gate = functional.silu(_linear(value, weights[f"{at}mlp.gate_proj.weight"]))
        up = _linear(value, weights[f"{at}mlp.up_proj.weight"])
        state = state + _linear(gate * up, weights[f"{at}mlp.down_proj.weight"])
    return norm(state, "model.norm.weight")


def logits(weights: Weights, states: Tensor) -> Tensor:
    """Return the scores of every next token."""
    return _linear(states, weights["model.embed_tokens.weight"])


def _linear(value: Tensor, matrix: Tensor) -> Tensor:
    """Multiply in bfloat16 and go on in 32 bits: several times as fast on recent processors."""
    narrow = torch.bfloat16
    return functional.linear(value.to(narrow), matrix.to(narrow)).float()


def _attention(query: Tensor, key: Tensor, content: Tensor, blocks: Sequence[Block]) -> Tensor:
    """Let every sample attend to itself; all in tokens × heads × width."""
    outcome = []
    for block in blocks:
        parts = (
            value[block.start : block.end]
            .unflatten(0, (block.samples, block.length))
            .transpose(1, 2)
            for value in (query, key, content)
        )
        attended = functional.scaled_dot_product_attention(*parts, is_causal=True, enable_gqa=True)
        outcome.append(attended.transpose(1, 2).flatten(2).flatten(0, 1))
    rest = query.shape[0] - blocks[-1].end
    outcome.append(torch.zeros(rest, query.shape[1] * query.shape[2], dtype=outcome[0].dtype))
    return torch.cat(outcome)


def _angles(shape: Shape, length: int, blocks: Sequence[Block]) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of every token's rotary angles, tokens × 1 × width."""
    positions = torch.zeros(length, dtype=torch.float64)
    for block in blocks:
        positions[block.start : block.end] = torch.arange(block.length).repeat(block.samples)
    exponents = torch.arange(0, shape.head, 2, dtype=torch.float64) / shape.head
    angles = torch.outer(positions, shape.rope_theta**-exponents).repeat(1, 2).unsqueeze(1)
    return angles.cos().float(), angles.sin().float()


def _rotated(value: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = angles
    left, right = value.chunk(2, dim=-1)
    return value * cosine + torch.cat((-right, left), dim=-1) * sine
