"""What one file says by itself: header, storage types, alignment, fall-backs, tokenizer."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.model_files import ModelFiles
from tests.broken_models import cut, edit_config, gguf_of, safetensors_of, set_gguf_number
from tests.tiny_llama import safetensors_bytes, write_tiny_llama

Judge = Callable[..., Any]
STRUCTURE = ("F-APR-FORMAT-001", "F-APR-FORMAT-002", "F-APR-FORMAT-003")


@pytest.mark.parametrize("gate", STRUCTURE)
def test_shards_are_looked_at_one_by_one(judge: Judge, tmp_path: Path, gate: str) -> None:
    model = safetensors_of(write_tiny_llama(tmp_path / "shards", shards=3))
    found = judge(gate, model)
    assert (found.state, found.figures["tensors"]) == ("corroborated", 20)


@pytest.mark.parametrize("gate", STRUCTURE)
def test_a_file_that_is_cut_short(judge: Judge, gguf: ModelFiles, gate: str) -> None:
    cut(gguf.weights[0], 0.9)
    found = judge(gate, gguf)
    assert found.state == "falsified"
    assert "truncated or damaged" in found.reason


def test_tensors_that_do_not_begin_at_an_element(judge: Judge, tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "odd")
    tensors = {"a": ("U8", (3,), bytes(3)), "b": ("F32", (2,), bytes(8))}
    (directory / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    found = judge("F-APR-FORMAT-002", safetensors_of(directory))
    assert found.state == "falsified"
    assert found.reason.startswith("b at byte ")
    assert "not aligned to 4 bytes" in found.reason
    assert judge("F-APR-FORMAT-003", safetensors_of(directory)).state == "corroborated"


def test_an_unknown_storage_type_is_not_judged(judge: Judge, gguf: ModelFiles) -> None:
    data = bytearray(gguf.weights[0].read_bytes())
    name = b"token_embd.weight"
    at = data.index(struct.pack("<Q", len(name)) + name) + 8 + len(name) + 4 + 2 * 8
    struct.pack_into("<I", data, at, 200)
    gguf.weights[0].write_bytes(data)
    found = judge("F-APR-FORMAT-001", gguf)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
    assert "unknown type 200" in found.reason


def test_a_silent_fall_back_to_f32(judge: Judge, truth: ModelFiles, tmp_path: Path) -> None:
    path = tmp_path / "wide.gguf"
    convert_safetensors_to_gguf(truth.directory, path, "f32")
    gate = "F-CONTRACT-I3-001"
    assert judge(gate, gguf_of(path)).state == "corroborated"
    set_gguf_number(path, "general.file_type", 1)
    found = judge(gate, gguf_of(path))
    assert "token_embd.weight is stored as F32" in found.reason
    assert "the label says F16; 16 of 16 matrices are stored as F32" in found.reason
    set_gguf_number(path, "general.file_type", 999)
    found = judge(gate, gguf_of(path))
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")


def test_what_the_playbook_asks_for_goes_before_the_files_label(
    judge: Judge, truth: ModelFiles, tmp_path: Path
) -> None:
    path = tmp_path / "wide.gguf"
    convert_safetensors_to_gguf(truth.directory, path, "f32")
    model = ModelFiles(
        format=gguf_of(path).format,
        quantization="q8_0",
        weights=(path,),
        directory=tmp_path,
        source="local_path",
    )
    assert judge("F-CONTRACT-I3-001", model).state == "falsified"


@pytest.mark.parametrize(
    ("said", "state"), [("float16", "corroborated"), ("float32", "corroborated"), (None, "skipped")]
)
def test_safetensors_are_held_against_config_json(
    judge: Judge, truth: ModelFiles, said: str | None, state: str
) -> None:
    edit_config(truth.directory, torch_dtype=said)
    assert judge("F-CONTRACT-I3-001", truth).state == state


def test_wide_safetensors_with_a_narrow_label(judge: Judge, tmp_path: Path) -> None:
    model = safetensors_of(write_tiny_llama(tmp_path / "wide", storage="F32"))
    edit_config(model.directory, torch_dtype="bfloat16")
    assert judge("F-CONTRACT-I3-001", model).state == "falsified"


def test_the_same_tokens(judge: Judge, gguf: ModelFiles, truth: ModelFiles) -> None:
    found = judge("F-CONTRACT-I5-001", gguf, truth)
    assert found.state == "corroborated"
    assert "the same as the ground truth's" in found.reason
    alone = judge("F-CONTRACT-I5-001", truth, truth)
    assert (alone.state, alone.figures["compared"]) == ("corroborated", False)


def test_a_merge_that_was_lost(judge: Judge, gguf: ModelFiles, truth: ModelFiles) -> None:
    path = truth.directory / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["model"]["merges"].remove("in" if "in" in data["model"]["merges"] else "i n")
    path.write_text(json.dumps(data), encoding="utf-8")
    found = judge("F-CONTRACT-I5-001", gguf, truth)
    assert found.state == "falsified"
    assert "another token than the ground truth's at" in found.reason
    path.write_text("{", encoding="utf-8")
    found = judge("F-CONTRACT-I5-001", gguf, truth)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
    assert judge("F-CONTRACT-I5-001", truth).state == "falsified"
