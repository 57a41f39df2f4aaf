"""Writes a random, tiny Llama model: a directory that every reader of such models accepts.

Its answers are noise, but the same noise in every engine and format: printable ASCII only, for the
tokens that would spell anything else have embeddings of zero and so are never the likeliest.
"""

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CHATML", "MERGES", "SPECIAL_TOKENS", "safetensors_bytes", "write_tiny_llama"]

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MERGES = ("t h", "Ġ t", "th e", "Ġt h", "Ġth e", "i n", "a n", "an d", "Ġ a", "1 2", "Ã ©", "e r")
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content']"
    " + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
_DIGITS_THEN_GPT2 = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
}


def write_tiny_llama(
    directory: Path,
    *,
    seed: int = 1,
    storage: str = "F16",
    shards: int = 1,
    tied: bool = True,
    config: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    pre_tokenizer: Mapping[str, Any] = _DIGITS_THEN_GPT2,
    tokenizer: Mapping[str, Any] | None = None,
) -> Path:
    """Write config, generation config, tokenizer and weights, and return the directory.

    Args:
        directory: is made.
        seed: of the random weights.
        storage: ``F16``, ``BF16`` or ``F32``.
        shards: how many weight files; more than one come with an index.
        tied: whether the embedding is the output projection as well.
        config: settings that replace those of config.json.
        generation: settings that replace those of generation_config.json.
        pre_tokenizer: as in tokenizer.json.
        tokenizer: settings that replace those at the top of tokenizer.json.
    """
    vocabulary = _vocabulary()
    settings: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "vocab_size": 288,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "torch_dtype": {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}[storage],
        "bos_token_id": 0,
        "eos_token_id": 2,
        **(config or {}),
    }
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / "config.json", settings)
    ends = {"bos_token_id": 0, "eos_token_id": [2, 0], **(generation or {})}
    _write_json(directory / "generation_config.json", ends)
    _write_json(directory / "tokenizer.json", _tokenizer(vocabulary, pre_tokenizer, tokenizer))
    _write_json(
        directory / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": SPECIAL_TOKENS[0],
            "eos_token": SPECIAL_TOKENS[2],
            "pad_token": SPECIAL_TOKENS[0],
            "clean_up_tokenization_spaces": False,
            "chat_template": CHATML,
        },
    )
    tensors = _random_tensors(settings, vocabulary, np.random.default_rng(seed))
    stored = {name: _stored(values, storage) for name, values in tensors.items()}
    if shards == 1:
        (directory / "model.safetensors").write_bytes(safetensors_bytes(stored))
        return directory
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(stored.items())[shard::shards])
        (directory / file).write_bytes(safetensors_bytes(part))
        weight_map |= dict.fromkeys(part, file)
    _write_json(directory / "model.safetensors.index.json", {"weight_map": weight_map})
    return directory


def safetensors_bytes(tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    """Return a safetensors file of tensors given as (storage type, shape, bytes)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (storage, shape, raw) in tensors.items():
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": storage, "shape": list(shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def _vocabulary() -> dict[str, int]:
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    symbols = [chr(byte if byte in kept else next(spare)) for byte in range(256)]
    merged = [merge.replace(" ", "") for merge in MERGES]
    return {text: number for number, text in enumerate([*SPECIAL_TOKENS, *symbols, *merged])}


def _tokenizer(
    vocabulary: dict[str, int],
    pre_tokenizer: Mapping[str, Any],
    replaced: Mapping[str, Any] | None,
) -> dict[str, Any]:
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": content, "special": True, **added}
            for number, content in enumerate(SPECIAL_TOKENS)
        ],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": vocabulary, "merges": list(MERGES)},
        **(replaced or {}),
    }


def _random_tensors(
    config: Mapping[str, Any], vocabulary: Mapping[str, int], generator: np.random.Generator
) -> dict[str, npt.NDArray[np.float32]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    biased = config["attention_bias"] or config["model_type"] == "qwen2"
    printable = set(string.printable) - set(string.whitespace)
    spoken = [
        number
        for text, number in vocabulary.items()
        if text not in SPECIAL_TOKENS and set(text.removeprefix("Ġ")) <= printable
    ]

    def normal(*shape: int, scale: float = 1.0) -> npt.NDArray[np.float32]:
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    def vocabulary_rows() -> npt.NDArray[np.float32]:
        rows = np.zeros((config["vocab_size"], hidden), dtype=np.float32)
        rows[spoken] = normal(len(spoken), hidden, scale=0.1)
        return rows

    tensors = {"model.embed_tokens.weight": vocabulary_rows()}
    # Control tokens are never said, but they are heard.
    if not config["tie_word_embeddings"]:
        tensors["model.embed_tokens.weight"][: len(SPECIAL_TOKENS)] = normal(3, hidden, scale=0.1)
        tensors["lm_head.weight"] = vocabulary_rows()
    for layer in range(config["num_hidden_layers"]):
        block = {
            "input_layernorm.weight": 1 + normal(hidden, scale=0.1),
            "self_attn.q_proj.weight": normal(queries, hidden, scale=2 * hidden**-0.5),
            "self_attn.k_proj.weight": normal(keys, hidden, scale=2 * hidden**-0.5),
            "self_attn.v_proj.weight": normal(keys, hidden, scale=hidden**-0.5),
            "self_attn.o_proj.weight": normal(hidden, queries, scale=2 * queries**-0.5),
            "post_attention_layernorm.weight": 1 + normal(hidden, scale=0.1),
            "mlp.gate_proj.weight": normal(inner, hidden, scale=hidden**-0.5),
            "mlp.up_proj.weight": normal(inner, hidden, scale=hidden**-0.5),
            "mlp.down_proj.weight": normal(hidden, inner, scale=2 * inner**-0.5),
        }
        if biased:
            for name, rows in (("q", queries), ("k", keys), ("v", keys)):
                block[f"self_attn.{name}_proj.bias"] = normal(rows, scale=0.5)
        if config["attention_bias"] and config["model_type"] != "qwen2":
            block["self_attn.o_proj.bias"] = normal(hidden, scale=0.5)
        tensors |= {f"model.layers.{layer}.{name}": values for name, values in block.items()}
    tensors["model.norm.weight"] = 1 + normal(hidden, scale=0.1)
    return tensors


def _stored(values: npt.NDArray[np.float32], storage: str) -> tuple[str, tuple[int, ...], bytes]:
    if storage == "BF16":
        raw = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    else:
        raw = values.astype({"F16": "<f2", "F32": "<f4"}[storage]).tobytes()
    return storage, values.shape, raw


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
