from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aprqa_ci.execution.engines.reference import network as network_module
from aprqa_ci.execution.engines.reference.network import LlamaNetwork
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig
from aprqa_ci.execution.formats.safetensors import open_safetensors
from tests.tiny_llama import write_tiny_llama

Array = npt.NDArray[np.float64]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"tied": False},
    {"config": {"attention_bias": True}},
    {"config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}},
    {"config": {"num_key_value_heads": 4, "head_dim": 8}},
    {"config": {"num_key_value_heads": 1}},
    {"config": {"rope_scaling": {"rope_type": "linear", "factor": 3.0}, "rope_theta": 50.0}},
]
TOKENS = [1, 70, 80, 90, 259, 81, 2, 100, 101]


def _open(directory: Path) -> tuple[LlamaConfig, dict[str, npt.NDArray[np.float32]]]:
    config = LlamaConfig.from_config_json(read_json_object(directory / "config.json"))
    weights = open_safetensors([directory / "model.safetensors"])
    return config, {name: weights.load(name) for name in weights.tensors}


def plain_logits(
    config: LlamaConfig, tensors: Mapping[str, npt.NDArray[np.float32]], tokens: list[int]
) -> Array:
    """The definition of the architecture, one head and one position at a time, in float64."""

    def tensor(name: str) -> Array:
        return tensors[name].astype(np.float64)

    def norm(vector: Array, weight: Array) -> Array:
        normalized: Array = vector / np.sqrt(np.mean(vector**2) + config.rms_norm_eps) * weight
        return normalized

    def project(name: str, vector: Array) -> Array:
        bias = tensors.get(name + ".bias", np.zeros(1)).astype(np.float64)
        return tensor(name + ".weight") @ vector + bias

    def turned(vector: Array, position: int) -> Array:
        half = config.head_dim // 2
        factor = config.rope_scaling.factor if config.rope_scaling else 1.0
        result = vector.copy()
        for pair in range(half):
            angle = position / factor * config.rope_theta ** (-2 * pair / config.head_dim)
            first, second = vector[pair], vector[pair + half]
            result[pair] = first * np.cos(angle) - second * np.sin(angle)
            result[pair + half] = second * np.cos(angle) + first * np.sin(angle)
        return result

    size, share = config.head_dim, config.num_heads // config.num_kv_heads
    hidden = [tensor("model.embed_tokens.weight")[token] for token in tokens]
    for layer in range(config.num_layers):
        prefix = f"model.layers.{layer}."
        inputs = [norm(vector, tensor(prefix + "input_layernorm.weight")) for vector in hidden]
        queries, keys, values = (
            [project(f"{prefix}self_attn.{name}_proj", vector) for vector in inputs]
            for name in "qkv"
        )
        for position, vector in enumerate(list(hidden)):
            heads = []
            for head in range(config.num_heads):
                mine = slice(head * size, (head + 1) * size)
                shared = slice(head // share * size, (head // share + 1) * size)
                query = turned(queries[position][mine], position)
                scores = np.array(
                    [query @ turned(keys[at][shared], at) for at in range(position + 1)]
                ) / np.sqrt(size)
                weights = np.exp(scores) / np.exp(scores).sum()
                heads.append(sum(w * values[at][shared] for at, w in enumerate(weights)))
            after = vector + project(prefix + "self_attn.o_proj", np.concatenate(heads))
            inner = norm(after, tensor(prefix + "post_attention_layernorm.weight"))
            gate = project(prefix + "mlp.gate_proj", inner)
            up = project(prefix + "mlp.up_proj", inner)
            down = project(prefix + "mlp.down_proj", gate / (1 + np.exp(-gate)) * up)
            hidden[position] = after + down
    last = norm(hidden[-1], tensor("model.norm.weight"))
    name = "model.embed_tokens" if config.tied_embeddings else "lm_head"
    logits: Array = tensor(name + ".weight") @ last
    return logits


@pytest.mark.parametrize("options", OPTIONS)
def test_logits_are_those_of_the_definition(tmp_path: Path, options: dict[str, Any]) -> None:
    config, tensors = _open(write_tiny_llama(tmp_path, **options))
    network = LlamaNetwork(config, tensors.__getitem__)
    logits = network.forward(TOKENS)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, plain_logits(config, tensors, TOKENS), atol=2e-4)


def test_llama3_frequencies_and_given_divisors(tmp_path: Path) -> None:
    scaling = {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    config, tensors = _open(write_tiny_llama(tmp_path, config={"rope_scaling": scaling}))
    by_rule = LlamaNetwork(config, tensors.__getitem__).forward(TOKENS)
    ones = LlamaNetwork(config, tensors.__getitem__, np.ones(8)).forward(TOKENS)
    assert config.rope_scaling is not None
    unscaled = LlamaNetwork(
        LlamaConfig(**{**vars(config), "rope_scaling": None}), tensors.__getitem__
    ).forward(TOKENS)
    assert np.array_equal(ones, unscaled)
    assert np.abs(by_rule - unscaled).max() > 1e-3


def test_tokens_in_parts_are_tokens_at_once(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tensors = _open(tiny_llama)
    whole = LlamaNetwork(config, tensors.__getitem__).forward(TOKENS)
    network = LlamaNetwork(config, tensors.__getitem__)
    one_by_one = [network.forward([token]) for token in TOKENS]
    np.testing.assert_allclose(one_by_one[-1], whole, atol=1e-4)
    monkeypatch.setattr(network_module, "_TOKENS_AT_ONCE", 4)
    network.reset()
    np.testing.assert_allclose(network.forward(TOKENS), whole, atol=1e-4)


def test_room_grows_and_what_was_seen_stays(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, tensors = _open(tiny_llama)
    whole = LlamaNetwork(config, tensors.__getitem__).forward(TOKENS)
    monkeypatch.setattr(network_module, "_FIRST_CAPACITY", 2)
    network = LlamaNetwork(config, tensors.__getitem__)
    parts = [network.forward(TOKENS[start : start + 3]) for start in range(0, len(TOKENS), 3)]
    np.testing.assert_allclose(parts[-1], whole, atol=1e-4)


def test_a_reset_network_has_seen_nothing(tiny_llama: Path) -> None:
    config, tensors = _open(tiny_llama)
    network = LlamaNetwork(config, tensors.__getitem__)
    first = network.forward(TOKENS)
    assert not np.array_equal(network.forward(TOKENS), first)
    network.reset()
    assert np.array_equal(network.forward(TOKENS), first)


def test_damaged_weights_give_nan_and_no_warning(tiny_llama: Path) -> None:
    config, tensors = _open(tiny_llama)
    broken = tensors["model.layers.0.mlp.up_proj.weight"].copy()
    broken[3] = np.nan
    tensors["model.layers.0.mlp.up_proj.weight"] = broken
    assert np.isnan(LlamaNetwork(config, tensors.__getitem__).forward(TOKENS)).all()
