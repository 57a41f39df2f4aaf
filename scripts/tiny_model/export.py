"""Writing the trained model in the layout of the Hugging Face Hub."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save
from tokenizers import Tokenizer
from torch import Tensor

from aprqa_ci.files import write_atomic
from scripts.tiny_model.llama import Shape
from scripts.tiny_model.tokenizer import END, PAD, token_id, tokenizer_config

__all__ = ["write_model"]


def write_model(
    directory: Path, shape: Shape, weights: Mapping[str, Tensor], tokenizer: Tokenizer
) -> None:
    """Write configuration, tokenizer and 16-bit weights.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    pad, end = token_id(tokenizer, PAD), token_id(tokenizer, END)
    rope = {"rope_theta": shape.rope_theta, "rope_type": "default"}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": pad,
        "dtype": "float16",
        "eos_token_id": end,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": shape.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.key_value_heads,
        "pad_token_id": pad,
        "pretraining_tp": 1,
        "rms_norm_eps": shape.epsilon,
        # Readers before and after the renaming find what they look for.
        "rope_parameters": rope,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "use_cache": True,
        "vocab_size": shape.vocabulary,
    }
    generation = {
        "bos_token_id": pad,
        "do_sample": False,
        "eos_token_id": [end, pad],
        "max_new_tokens": 64,
        "pad_token_id": pad,
    }
    _write_json(directory / "config.json", config)
    _write_json(directory / "generation_config.json", generation)
    _write_json(directory / "tokenizer_config.json", tokenizer_config(shape.context))
    (directory / "tokenizer.json").write_text(tokenizer.to_str() + "\n", encoding="utf-8")
    tensors = {
        name: np.ascontiguousarray(value.numpy().astype(np.float16))
        for name, value in sorted(weights.items())
    }
    write_atomic(directory / "model.safetensors", save(tensors, metadata={"format": "pt"}))


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
