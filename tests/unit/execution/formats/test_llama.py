from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aprqa_ci.execution.formats.llama import (
    LlamaConfig,
    as_gguf_tensor,
    as_hf_tensor,
    expected_tensors,
    gguf_name,
    hf_name,
    optional_tensors,
)
from aprqa_ci.execution.formats.rope import RopeScaling
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 300,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 128,
    "torch_dtype": "bfloat16",
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
}
METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.file_type": 7,
    "llama.embedding_length": 64,
    "llama.block_count": 2,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": [2, 2],
    "llama.feed_forward_length": 96,
    "llama.attention.layer_norm_rms_epsilon": float(np.float32(1e-5)),
    "llama.context_length": 128,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
}


def _tensor(name: str, *shape: int) -> TensorInfo:
    return TensorInfo(name=name, dtype="F32", shape=shape, file=Path("f"), offset=0, nbytes=0)


TENSORS = {"token_embd.weight": _tensor("token_embd.weight", 300, 64)}


def test_config_json_is_read_with_the_defaults_of_the_field() -> None:
    config = LlamaConfig.from_config_json(CONFIG)
    assert config == LlamaConfig(
        architecture="llama",
        hidden_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=16,
        intermediate_size=96,
        vocab_size=300,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
        context_length=128,
        tied_embeddings=False,
        attention_bias=False,
        dtype="bfloat16",
        bos_token_id=1,
        eos_token_ids=(2, 3),
    )
    without_groups = {key: value for key, value in CONFIG.items() if "key_value" not in key}
    assert LlamaConfig.from_config_json(without_groups).num_kv_heads == 4


def test_gguf_metadata_say_the_same() -> None:
    config = LlamaConfig.from_gguf_metadata(METADATA, TENSORS)
    same = LlamaConfig.from_config_json(
        {**CONFIG, "tie_word_embeddings": True, "torch_dtype": "Q8_0", "eos_token_id": 2}
    )
    assert config == same


def test_gguf_tensors_say_what_the_metadata_leave_open() -> None:
    tensors = TENSORS | {
        name: _tensor(name, 64)
        for name in ("output.weight", "blk.0.attn_q.bias", "blk.0.attn_output.bias")
    }
    config = LlamaConfig.from_gguf_metadata(METADATA, tensors)
    assert not config.tied_embeddings
    assert config.attention_bias
    assert config.output_bias
    by_tokens = METADATA | {"tokenizer.ggml.tokens": ["a"] * 77}
    assert LlamaConfig.from_gguf_metadata(by_tokens, {}).vocab_size == 77
    assert LlamaConfig.from_gguf_metadata(by_tokens | {"llama.vocab_size": 5}, {}).vocab_size == 5
    with pytest.raises(FormatError, match=r"llama\.vocab_size is missing"):
        LlamaConfig.from_gguf_metadata(METADATA, {})


def test_qwen2_has_biases_in_either_format() -> None:
    config = LlamaConfig.from_config_json({**CONFIG, "architectures": ["Qwen2ForCausalLM"]})
    assert (config.architecture, config.attention_bias, config.output_bias) == (
        "qwen2",
        True,
        False,
    )
    metadata = {key.replace("llama.", "qwen2."): value for key, value in METADATA.items()}
    metadata["general.architecture"] = "qwen2"
    config = LlamaConfig.from_gguf_metadata(metadata, TENSORS)
    assert (config.architecture, config.attention_bias, config.output_bias) == (
        "qwen2",
        True,
        False,
    )


def test_llama_bias_is_on_the_output_too() -> None:
    config = LlamaConfig.from_config_json({**CONFIG, "attention_bias": True})
    assert (config.attention_bias, config.output_bias) == (True, True)


def test_mistral_computes_like_llama_while_its_window_never_closes() -> None:
    mistral = {**CONFIG, "architectures": ["MistralForCausalLM"]}
    for window in (None, 128, 4096):
        config = LlamaConfig.from_config_json({**mistral, "sliding_window": window})
        assert config.architecture == "llama"
    with pytest.raises(UnsupportedFormatError, match=r"sliding window of 127 .* 128 tokens"):
        LlamaConfig.from_config_json({**mistral, "sliding_window": 127})
    # Qwen2 names a window that is switched off.
    off = {**CONFIG, "sliding_window": 7, "use_sliding_window": False}
    assert LlamaConfig.from_config_json(off).context_length == 128


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "'GPT2LMHeadModel' is not known"),
        ({"architectures": [{}]}, "architecture {} is not known"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "yarn"),
    ],
)
def test_unknown_settings_are_refused_by_name(change: dict[str, Any], what: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=what):
        LlamaConfig.from_config_json({**CONFIG, **change})


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"architectures": None}, "architectures is missing"),
        ({"architectures": []}, "architectures is missing"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_key_value_heads": 3}, "4 heads cannot share 3"),
        ({"head_dim": 15}, "head_dim 15 is odd"),
        ({"num_hidden_layers": 1 << 30}, "num_hidden_layers is"),
        ({"rms_norm_eps": -1}, "rms_norm_eps is -1"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
        ({"rope_theta": 0}, "rope_theta is 0"),
    ],
)
def test_impossible_settings_are_damage(change: dict[str, Any], what: str) -> None:
    with pytest.raises(FormatError, match=what) as caught:
        LlamaConfig.from_config_json({**CONFIG, **change}, "the-config")
    assert str(caught.value).startswith("the-config: ")
    assert not isinstance(caught.value, UnsupportedFormatError)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"general.architecture": "gpt2"}, "'gpt2' is not known"),
        ({"llama.expert_count": 8}, "expert_count is 8"),
        ({"llama.rope.dimension_count": 8}, "dimension_count is 8"),
        ({"llama.attention.value_length": 8}, "value_length is 8"),
        ({"llama.attention.sliding_window": 64}, "sliding_window is 64"),
        ({"llama.logit_scale": 0.5}, "logit_scale is 0.5"),
        ({"llama.rope.scaling.type": "yarn"}, "yarn"),
    ],
)
def test_unknown_gguf_settings_are_refused_by_name(change: dict[str, Any], what: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=what):
        LlamaConfig.from_gguf_metadata(METADATA | change, TENSORS)


def test_missing_gguf_settings_are_damage() -> None:
    with pytest.raises(FormatError, match=r"general\.architecture is missing"):
        LlamaConfig.from_gguf_metadata({}, {})
    with pytest.raises(FormatError, match=r"head_count is missing.*block_count is missing"):
        LlamaConfig.from_gguf_metadata({"general.architecture": "llama"}, TENSORS)
    with pytest.raises(FormatError, match=r"head_count_kv is \[2, 4\]"):
        LlamaConfig.from_gguf_metadata(
            METADATA | {"llama.attention.head_count_kv": [2, 4]}, TENSORS
        )


def test_gguf_rope_scaling_and_unknown_label() -> None:
    metadata = METADATA | {"llama.rope.scaling.factor": 2.0, "general.file_type": 999}
    config = LlamaConfig.from_gguf_metadata(metadata, TENSORS)
    assert config.rope_scaling == RopeScaling(kind="linear", factor=2.0)
    assert config.dtype is None


def test_expected_tensors_are_those_of_the_architecture() -> None:
    plain = LlamaConfig.from_config_json(CONFIG)
    expected = expected_tensors(plain)
    assert len(expected) == 3 + 2 * 9
    assert expected["model.embed_tokens.weight"] == expected["lm_head.weight"] == (300, 64)
    assert expected["model.layers.1.self_attn.k_proj.weight"] == (32, 64)
    assert expected["model.layers.0.mlp.down_proj.weight"] == (64, 96)
    assert expected["model.norm.weight"] == (64,)
    assert "lm_head.weight" not in optional_tensors(plain)
    biased = LlamaConfig.from_config_json(
        {**CONFIG, "attention_bias": True, "tie_word_embeddings": True, "head_dim": 32}
    )
    expected = expected_tensors(biased)
    assert expected["model.layers.0.self_attn.q_proj.bias"] == (128,)
    assert expected["model.layers.0.self_attn.v_proj.bias"] == (64,)
    assert expected["model.layers.0.self_attn.o_proj.bias"] == (64,)
    assert expected["model.layers.0.self_attn.o_proj.weight"] == (64, 128)
    assert "lm_head.weight" not in expected
    optional = optional_tensors(biased)
    assert optional["lm_head.weight"] == (300, 64)
    assert optional["rope_freqs.weight"] == (16,)
    assert optional["model.layers.1.self_attn.rotary_emb.inv_freq"] == (16,)


def test_names_of_every_tensor_translate_both_ways() -> None:
    config = LlamaConfig.from_config_json({**CONFIG, "attention_bias": True})
    for name in expected_tensors(config):
        stored = gguf_name(name)
        assert stored is not None
        assert hf_name(stored) == name
    assert gguf_name("model.layers.7.self_attn.q_proj.weight") == "blk.7.attn_q.weight"
    assert gguf_name("model.embed_tokens.weight") == "token_embd.weight"
    assert gguf_name("rope_freqs.weight") == hf_name("rope_freqs.weight") == "rope_freqs.weight"


@pytest.mark.parametrize(
    "name",
    ["", "x", "blk.0.attn_x.weight", "blk.x.attn_q.weight", "blk.0.attn_q", "blk.0.attn_q.w"],
)
def test_unknown_names_translate_to_nothing(name: str) -> None:
    assert hf_name(name) is None
    assert gguf_name(name) is None


def test_only_llama_queries_and_keys_are_reordered_and_back() -> None:
    config = LlamaConfig.from_config_json(CONFIG)
    qwen2 = LlamaConfig.from_config_json({**CONFIG, "architectures": ["Qwen2ForCausalLM"]})
    queries = np.arange(64 * 3, dtype=np.float32).reshape(64, 3)
    stored = as_gguf_tensor("model.layers.0.self_attn.q_proj.weight", queries, config)
    # Rows 0 and 8 are the two halves of the first pair of a head of 16.
    assert stored[:4, 0].tolist() == [queries[row, 0] for row in (0, 8, 1, 9)]
    assert stored[16, 0] == queries[16, 0]
    assert np.array_equal(as_hf_tensor("blk.0.attn_q.weight", stored, config), queries)
    keys = queries[:32]
    stored = as_gguf_tensor("blk.0.attn_k.weight", keys, config)
    assert not np.array_equal(stored, keys)
    hf = as_hf_tensor("model.layers.0.self_attn.k_proj.weight", stored, config)
    assert np.array_equal(hf, keys)
    bias = np.arange(64, dtype=np.float32)
    stored = as_gguf_tensor("blk.0.attn_q.bias", bias, config)
    assert stored[:2].tolist() == [0, 8]
    for name in ("blk.0.attn_v.weight", "blk.0.attn_output.weight", "token_embd.weight"):
        assert as_hf_tensor(name, queries, config) is queries
        assert as_gguf_tensor(name, queries, config) is queries
    assert as_hf_tensor("blk.0.attn_q.weight", queries, qwen2) is queries
