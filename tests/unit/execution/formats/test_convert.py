import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aprqa_ci.execution.formats.convert import (
    QUANTIZATIONS,
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig, as_hf_tensor, gguf_name
from aprqa_ci.execution.formats.rope import ROPE_FACTORS
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.tokenizer import load_tokenizer, tokenizer_from_gguf
from aprqa_ci.execution.formats.tokenizer_model import pre_tokenizer_json
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from tests.tiny_llama import CHATML, safetensors_bytes, write_tiny_llama

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
# The largest error of one element, as a part of the largest element of its block of 32.
ERROR = {
    "f32": 0.0,
    "f16": 0.0,
    "bf16": 2**-8,
    "q8_0": 1 / 127,
    "q5_0": 1 / 15,
    "q5_1": 1 / 15,
    "q4_0": 1 / 7,
    "q4_1": 1 / 7,
}


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_every_quantization_keeps_the_weights_within_its_error(
    tiny_llama: Path, tmp_path: Path, quantization: str
) -> None:
    target = tmp_path / "deep" / "model.gguf"
    convert_safetensors_to_gguf(tiny_llama, target, quantization)
    source = open_safetensors([tiny_llama / "model.safetensors"])
    weights = open_gguf(target)
    config = LlamaConfig.from_gguf_metadata(weights.metadata, weights.tensors)
    assert config.dtype == quantization.upper()
    assert len(weights.tensors) == len(source.tensors)
    for name, info in source.tensors.items():
        stored = gguf_name(name)
        assert stored is not None
        matrix = len(info.shape) == 2
        assert weights.tensors[stored].dtype == (quantization.upper() if matrix else "F32")
        ours = as_hf_tensor(stored, weights.load(stored), config)
        theirs = source.load(name)
        scale = np.abs(theirs.reshape(-1, 32)).max(axis=1, keepdims=True) if matrix else 0
        error = np.abs(ours - theirs)
        allowed = ERROR[quantization] * 1.01 * scale if matrix else 0.0
        assert (error.reshape(-1, 32) <= allowed).all(), name
    assert [path.name for path in target.parent.iterdir()] == ["model.gguf"]


def test_the_metadata_are_those_of_the_source(tiny_llama: Path, tmp_path: Path) -> None:
    convert_safetensors_to_gguf(tiny_llama, tmp_path / "m.gguf", "f16")
    weights = open_gguf(tmp_path / "m.gguf")
    source = tiny_llama / "config.json"
    ours = LlamaConfig.from_gguf_metadata(weights.metadata, weights.tensors)
    theirs = LlamaConfig.from_config_json(read_json_object(source))
    for field in ("hidden_size", "num_layers", "num_heads", "num_kv_heads", "head_dim"):
        assert getattr(ours, field) == getattr(theirs, field)
    assert (ours.vocab_size, ours.tied_embeddings) == (288, True)
    assert (ours.rms_norm_eps, ours.rope_theta, ours.context_length) == (1e-5, 10000.0, 128)
    assert weights.metadata["tokenizer.chat_template"] == CHATML
    assert weights.metadata["tokenizer.ggml.eos_token_id"] == 2
    assert weights.metadata["tokenizer.ggml.eot_token_id"] == 0
    assert weights.metadata["tokenizer.ggml.add_bos_token"] is False
    tokenizer, original = tokenizer_from_gguf(weights.metadata), load_tokenizer(tiny_llama)
    text = "<|im_start|>the 12 and é<|im_end|>"
    assert tokenizer.encode(text) == original.encode(text)
    tokens = weights.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    assert tokens[-1] == "[PAD287]"


def test_the_same_source_gives_the_same_bytes(tiny_llama: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        convert_safetensors_to_gguf(tiny_llama, tmp_path / name, "q4_0")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_shards_are_read_as_one_model(tiny_llama: Path, tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "shards", shards=3)
    convert_safetensors_to_gguf(tiny_llama, tmp_path / "whole.gguf", "q8_0")
    convert_safetensors_to_gguf(tmp_path / "shards", tmp_path / "shards.gguf", "q8_0")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "shards.gguf").read_bytes()


@pytest.mark.parametrize("dtype", ["f16", "f32"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tied": False},
        {"config": {"attention_bias": True}},
        {"config": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}},
        {"config": {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}},
    ],
)
def test_there_and_back_is_the_same_model(
    tmp_path: Path, dtype: str, options: dict[str, Any]
) -> None:
    source = write_tiny_llama(tmp_path / "source", **options)
    convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "f16")
    back = tmp_path / "back"
    convert_gguf_to_safetensors(tmp_path / "m.gguf", back, dtype)
    ours = open_safetensors([back / "model.safetensors"])
    theirs = open_safetensors([source / "model.safetensors"])
    assert set(ours.tensors) == set(theirs.tensors)
    for name in theirs.tensors:
        assert ours.tensors[name].dtype == dtype.upper()
        assert np.array_equal(ours.load(name), theirs.load(name)), name
    before = LlamaConfig.from_config_json(read_json_object(source / "config.json"))
    after = LlamaConfig.from_config_json(read_json_object(back / "config.json"))
    assert after.dtype == {"f16": "float16", "f32": "float32"}[dtype]
    assert {**vars(after), "dtype": None} == {**vars(before), "dtype": None}
    assert read_json_object(back / "generation_config.json")["eos_token_id"] == [2, 0]
    assert read_json_object(back / "tokenizer_config.json")["chat_template"] == CHATML
    text = "<|im_start|>the 12 and é<|im_end|>"
    assert load_tokenizer(back).encode(text) == load_tokenizer(source).encode(text)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["back", "m.gguf", "source"]


def test_the_written_files_are_those_of_the_fields_libraries(
    tiny_llama: Path, tmp_path: Path
) -> None:
    reader = pytest.importorskip("safetensors.numpy")
    tokenizers = pytest.importorskip("tokenizers")
    convert_safetensors_to_gguf(tiny_llama, tmp_path / "m.gguf", "f32")
    convert_gguf_to_safetensors(tmp_path / "m.gguf", tmp_path / "back", "f16")
    ours = reader.load_file(tmp_path / "back" / "model.safetensors")
    theirs = reader.load_file(tiny_llama / "model.safetensors")
    assert set(ours) == set(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    one, other = (
        tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        for directory in (tmp_path / "back", tiny_llama)
    )
    text = "<|im_start|>the 12 and é<|im_end|>"
    assert one.encode(text).ids == other.encode(text).ids


def test_llama3_frequencies_become_factors(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "source", config={"rope_scaling": LLAMA3_ROPE})
    convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "f16")
    weights = open_gguf(tmp_path / "m.gguf")
    factors = weights.load(ROPE_FACTORS)
    assert factors.shape == (8,)
    assert factors[0] == 1.0
    assert factors[-1] == 8.0
    with pytest.raises(UnsupportedFormatError, match="no way to say the factors"):
        convert_gguf_to_safetensors(tmp_path / "m.gguf", tmp_path / "back", "f16")
    assert not (tmp_path / "back").exists()


def test_rows_that_are_not_whole_blocks_become_f16(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "source", config={"intermediate_size": 40})
    convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "q4_0")
    tensors = open_gguf(tmp_path / "m.gguf").tensors
    assert tensors["blk.0.ffn_down.weight"].dtype == "F16"
    assert tensors["blk.0.ffn_up.weight"].dtype == "Q4_0"


def test_a_template_file_goes_before_the_tokenizer_config(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "source")
    target = tmp_path / "m.gguf"

    def template() -> object:
        convert_safetensors_to_gguf(source, target, "f16")
        return open_gguf(target).metadata.get("tokenizer.chat_template")

    named = [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]
    _edit(source / "tokenizer_config.json", chat_template=named)
    assert template() == "D"
    _edit(source / "tokenizer_config.json", chat_template=None)
    assert template() is None
    (source / "chat_template.jinja").write_text("J", encoding="utf-8")
    assert template() == "J"
    (source / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(FormatError, match="chat_template"):
        template()


def test_llama3_rules_and_their_beginning_token(tmp_path: Path) -> None:
    source = write_tiny_llama(
        tmp_path / "source",
        pre_tokenizer=pre_tokenizer_json("llama-bpe"),
        tokenizer={
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [
                    {"SpecialToken": {"id": "<|endoftext|>"}},
                    {"Sequence": {"id": "A"}},
                ],
            }
        },
    )
    # GGUF can only say both together: these rules, and whole words looked up first.
    with pytest.raises(UnsupportedFormatError, match="ignore_merges"):
        convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "f16")
    model = read_json_object(source / "tokenizer.json")["model"]
    _edit(source / "tokenizer.json", model=model | {"ignore_merges": True})
    convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "f16")
    convert_gguf_to_safetensors(tmp_path / "m.gguf", tmp_path / "back", "f16")
    for directory in (source, tmp_path / "back"):
        tokenizer = load_tokenizer(directory).model
        assert (tokenizer.add_bos, tokenizer.bos_id, tokenizer.pre) == (True, 0, "llama-bpe")


def test_sources_that_cannot_be_converted_leave_nothing(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "source")
    target = tmp_path / "out" / "m.gguf"
    with pytest.raises(UnsupportedFormatError, match="'q9_9'"):
        convert_safetensors_to_gguf(source, target, "q9_9")
    with pytest.raises(UnsupportedFormatError, match="'q8_0'"):
        convert_gguf_to_safetensors(target, tmp_path / "back", "q8_0")
    with pytest.raises(FormatError, match="cannot be read"):
        convert_gguf_to_safetensors(target, tmp_path / "back", "f16")
    _edit(source / "config.json", num_hidden_layers=3)
    with pytest.raises(FormatError, match="no tensor"):
        convert_safetensors_to_gguf(source, target, "f16")
    _edit(source / "config.json", num_hidden_layers=2, hidden_size=32)
    with pytest.raises(FormatError, match="and not"):
        convert_safetensors_to_gguf(source, target, "f16")
    _edit(source / "config.json", hidden_size=64, vocab_size=100)
    with pytest.raises(FormatError, match="tokens for 100 rows"):
        convert_safetensors_to_gguf(source, target, "f16")
    (source / "model.safetensors").unlink()
    with pytest.raises(FormatError, match="SafeTensors"):
        convert_safetensors_to_gguf(source, target, "f16")
    assert not target.exists()
    assert list(target.parent.iterdir()) == []
    assert not (tmp_path / "back").exists()


def test_values_too_large_for_float16_are_not_made_infinite(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "source", storage="F32")
    weights = open_safetensors([source / "model.safetensors"])
    tensors = {name: weights.load(name).copy() for name in weights.tensors}
    tensors["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    stored = {name: ("F32", values.shape, values.tobytes()) for name, values in tensors.items()}
    (source / "model.safetensors").write_bytes(safetensors_bytes(stored))
    with pytest.raises(FormatError, match=r"up_proj\.weight' has values too large for float16"):
        convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "f16")


def test_a_failed_write_back_leaves_no_directory(tmp_path: Path) -> None:
    source = write_tiny_llama(tmp_path / "source")
    convert_safetensors_to_gguf(source, tmp_path / "m.gguf", "f16")
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "mine").touch()
    with pytest.raises(OSError, match="occupied"):
        convert_gguf_to_safetensors(tmp_path / "m.gguf", occupied, "f16")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["m.gguf", "occupied", "source"]
    assert [path.name for path in occupied.iterdir()] == ["mine"]
