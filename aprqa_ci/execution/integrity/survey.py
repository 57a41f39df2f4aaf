"""What the names and shapes of tensors say of a model, whatever its architecture."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from aprqa_ci.execution.formats.weights import TensorInfo

__all__ = ["Survey", "survey"]

# The decoder's layers in the spellings of the field. The towers of models that see or hear have
# layers of the same names under other prefixes; those are not counted.
_LAYER = re.compile(
    r"(?:blk|(?:(?:model|transformer|gpt_neox|decoder|language_model|text_model)\.)*"
    r"(?:layers|h|blocks))\.(?P<layer>\d{1,5})\.(?P<rest>[\w.]+)"
)
_TOP = re.compile(
    r"(?:(?:model|transformer|gpt_neox|decoder|language_model|text_model)\.)*"
    r"(?P<name>\w+)\.weight"
)
_EMBEDDING = {"token_embd", "embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings"}
_OUTPUT = {"output", "lm_head", "embed_out"}
_INPUT_NORM = {"attn_norm", "input_layernorm", "ln_1", "attention_norm", "norm_1"}
_ATTENTION = r"(?:self_attn|attn|attention|self_attention)\."
_PROJECTIONS = {
    "query": re.compile(rf"attn_q\.weight|{_ATTENTION}(?:q_proj|wq)\.weight"),
    "key": re.compile(rf"attn_k\.weight|{_ATTENTION}(?:k_proj|wk)\.weight"),
    "value": re.compile(rf"attn_v\.weight|{_ATTENTION}(?:v_proj|wv)\.weight"),
    "output": re.compile(rf"attn_output\.weight|{_ATTENTION}(?:o_proj|wo)\.weight"),
    # Rows of queries, keys and values in one matrix; GPT-2 stores it the other way round.
    "fused": re.compile(rf"attn_qkv\.weight|{_ATTENTION}(?:qkv_proj|query_key_value|Wqkv)\.weight"),
}


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Where the parts that all decoders have are, found by name."""

    tensors: int
    layers: frozenset[int] = frozenset()
    embedding: TensorInfo | None = None
    output: TensorInfo | None = None
    input_norms: tuple[TensorInfo, ...] = ()
    """The norm before attention of each layer; as wide as the hidden state."""
    projections: Mapping[str, tuple[TensorInfo, ...]] = field(default_factory=dict)
    """``query``, ``key``, ``value``, ``output``, ``fused``: the matrices of all layers."""
    matrices: tuple[TensorInfo, ...] = ()
    """Every tensor of two or more dimensions in the layers."""


def survey(tensors: Mapping[str, TensorInfo]) -> Survey:
    """Sort the tensors by what their names say."""
    layers: set[int] = set()
    top: dict[str, TensorInfo] = {}
    norms: list[TensorInfo] = []
    matrices: list[TensorInfo] = []
    projections: dict[str, list[TensorInfo]] = {role: [] for role in _PROJECTIONS}
    for name, tensor in tensors.items():
        if found := _LAYER.fullmatch(name):
            layers.add(int(found["layer"]))
            rest = found["rest"]
            if rest.removesuffix(".weight") in _INPUT_NORM:
                norms.append(tensor)
            if len(tensor.shape) > 1:
                matrices.append(tensor)
            for role, pattern in _PROJECTIONS.items():
                if pattern.fullmatch(rest):
                    projections[role].append(tensor)
        elif found := _TOP.fullmatch(name):
            top.setdefault(found["name"], tensor)
    return Survey(
        tensors=len(tensors),
        layers=frozenset(layers),
        embedding=_first(top, _EMBEDDING),
        output=_first(top, _OUTPUT),
        input_norms=tuple(norms),
        projections={role: tuple(found) for role, found in projections.items() if found},
        matrices=tuple(matrices),
    )


def _first(top: Mapping[str, TensorInfo], names: set[str]) -> TensorInfo | None:
    return next((top[name] for name in sorted(names) if name in top), None)
