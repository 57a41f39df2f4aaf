"""The committed model files are what their checksums say, small, and of one make."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.data_files import data_directory
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.suites import load_suites

DIRECTORY = Path(str(data_directory())) / "models" / "aprqa-tiny"
GGUF_FILES = [f"aprqa-tiny-{quantization}.gguf" for quantization in ("f16", "q8_0", "q4_0")]
PARTS = [
    "MODEL_CARD.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    *GGUF_FILES,
]


def read_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DIRECTORY / name).read_text(encoding="utf-8"))
    return content


def tensor_headers() -> dict[str, Any]:
    with (DIRECTORY / "model.safetensors").open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(size))
    header.pop("__metadata__", None)
    return header


def test_every_file_has_its_checksum() -> None:
    lines = (DIRECTORY / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    written = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert written == {name: sha256_file(DIRECTORY / name) for name in sorted(PARTS)}


def test_nothing_else_lies_there() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == {*PARTS, "SHA256SUMS"}


def test_all_of_it_stays_below_eight_megabytes() -> None:
    assert sum(path.stat().st_size for path in DIRECTORY.iterdir()) <= 8_000_000


def test_the_configuration_describes_the_tensors() -> None:
    config, tensors = read_json("config.json"), tensor_headers()
    hidden, feed_forward = config["hidden_size"], config["intermediate_size"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    queries = config["num_attention_heads"] * config["head_dim"]
    expected = {
        "model.embed_tokens.weight": [config["vocab_size"], hidden],
        "model.norm.weight": [hidden],
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        expected |= {
            f"{at}input_layernorm.weight": [hidden],
            f"{at}self_attn.q_proj.weight": [queries, hidden],
            f"{at}self_attn.k_proj.weight": [keys, hidden],
            f"{at}self_attn.v_proj.weight": [keys, hidden],
            f"{at}self_attn.o_proj.weight": [hidden, queries],
            f"{at}post_attention_layernorm.weight": [hidden],
            f"{at}mlp.gate_proj.weight": [feed_forward, hidden],
            f"{at}mlp.up_proj.weight": [feed_forward, hidden],
            f"{at}mlp.down_proj.weight": [hidden, feed_forward],
        }
    assert {name: tensor["shape"] for name, tensor in tensors.items()} == expected
    assert {tensor["dtype"] for tensor in tensors.values()} == {"F16"}
    assert config["torch_dtype"] == "float16"
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10_000
    assert config["tie_word_embeddings"] is True


def test_it_is_as_small_as_it_is_said_to_be() -> None:
    sizes = []
    for tensor in tensor_headers().values():
        count = 1
        for dimension in tensor["shape"]:
            count *= dimension
        sizes.append(count)
    total = sum(sizes)
    assert 500_000 <= total <= 3_000_000
    assert f"{total:,} parameters" in (DIRECTORY / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_tokenizer_belongs_to_the_model() -> None:
    config, tokenizer = read_json("config.json"), read_json("tokenizer.json")
    settings, generation = read_json("tokenizer_config.json"), read_json("generation_config.json")
    ids = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    vocabulary = tokenizer["model"]["vocab"] | ids
    assert sorted(vocabulary.values()) == list(range(config["vocab_size"]))
    assert ids[settings["eos_token"]] == config["eos_token_id"]
    assert ids[settings["bos_token"]] == config["bos_token_id"]
    assert set(generation["eos_token_id"]) == {config["eos_token_id"], config["bos_token_id"]}
    assert settings["model_max_length"] == config["max_position_embeddings"]
    assert "<|im_start|>assistant" in settings["chat_template"]


@pytest.mark.parametrize("name", GGUF_FILES)
def test_a_gguf_file_begins_as_one(name: str) -> None:
    with (DIRECTORY / name).open("rb") as stream:
        magic, version = struct.unpack("<4sI", stream.read(8))
    assert (magic, version) == (b"GGUF", 3)


def test_the_longest_answers_leave_room_for_their_questions() -> None:
    context = read_json("config.json")["max_position_embeddings"]
    longest = max(entry.max_tokens for suite in load_suites().values() for entry in suite.prompts)
    assert longest <= context / 2
