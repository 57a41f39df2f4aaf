import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    ModelLoadError,
    Sampling,
    UnknownArchitectureError,
)
from aprqa_ci.execution.engines.reference import ReferenceEngine, ReferenceSession
from aprqa_ci.execution.engines.reference.loading import load_model
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend, ModelFormat
from tests.tiny_llama import safetensors_bytes, write_tiny_llama

Open = Callable[[Path], ReferenceSession]


def _files(path: Path) -> ModelFiles:
    gguf = path.suffix == ".gguf"
    return ModelFiles(
        format=ModelFormat.GGUF if gguf else ModelFormat.SAFETENSORS,
        weights=(path,) if gguf else tuple(sorted(path.glob("*.safetensors"))),
        directory=path.parent if gguf else path,
        source="local_path",
    )


def _edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model")


def _gguf(directory: Path, quantization: str = "f16") -> Path:
    target = directory.parent / f"m-{quantization}.gguf"
    convert_safetensors_to_gguf(directory, target, quantization)
    return target


def test_end_tokens_are_gathered_from_every_file(directory: Path) -> None:
    assert load_model(_files(directory)).end_ids == {0, 2}
    _edit(directory / "generation_config.json", eos_token_id=1)
    _edit(directory / "config.json", eos_token_id=[70, 71])
    assert load_model(_files(directory)).end_ids == {1, 2, 70, 71}
    (directory / "generation_config.json").unlink()
    assert load_model(_files(directory)).end_ids == {2, 70, 71}
    (directory / "tokenizer_config.json").unlink()
    assert load_model(_files(directory)).end_ids == {70, 71}


def test_a_gguf_file_ends_answers_as_its_source_does(directory: Path) -> None:
    _edit(directory / "generation_config.json", eos_token_id=[2, 70])
    # 70 from tokenizer.ggml.eot_token_id, and <|endoftext|> by its meaning.
    assert load_model(_files(_gguf(directory))).end_ids == {0, 2, 70}


def test_shards_are_one_model(tmp_path: Path, tiny_llama: Path) -> None:
    shards = write_tiny_llama(tmp_path, shards=3)
    whole, parts = (
        ReferenceEngine().open(_files(path), Backend.CPU).complete("a", Sampling(max_tokens=9))
        for path in (tiny_llama, shards)
    )
    assert whole.text == parts.text


def test_formats_that_are_not_known(directory: Path) -> None:
    files = replace(_files(directory), format=ModelFormat.APR)
    with pytest.raises(EngineAbsentError, match="does not know the format apr"):
        load_model(files)
    path = _gguf(directory)
    with pytest.raises(EngineAbsentError, match="several files"):
        load_model(replace(_files(path), weights=(path, path)))


def test_an_unknown_architecture_is_told_from_other_limits(directory: Path) -> None:
    changes: dict[str, Any] = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
    path = _gguf(directory)
    _edit(directory / "config.json", **changes)
    with pytest.raises(UnknownArchitectureError, match="'GPT2LMHeadModel' is not known here"):
        load_model(_files(directory))
    path.write_bytes(path.read_bytes().replace(b"llama", b"blama"))
    with pytest.raises(UnknownArchitectureError, match="'blama' is not known here"):
        load_model(_files(path))


@pytest.mark.parametrize(
    ("file", "changes", "what"),
    [
        # The kind is llama's: an engine that heeds it alone would load what may be damaged.
        ("config.json", {"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ("config.json", {"rope_scaling": {"type": "yarn"}}, "yarn"),
        ("tokenizer.json", {"model": {"type": "Unigram"}}, "Unigram"),
    ],
)
def test_our_limits_are_not_the_models_fault(
    directory: Path, file: str, changes: dict[str, Any], what: str
) -> None:
    _edit(directory / file, **changes)
    with pytest.raises(EngineAbsentError, match=f"the reference engine does not know .*{what}") as (
        caught
    ):
        load_model(_files(directory))
    assert not isinstance(caught.value, UnknownArchitectureError)


@pytest.mark.parametrize(
    ("file", "changes", "what"),
    [
        ("config.json", {"num_hidden_layers": 3}, r"missing: model\.layers\.2\..* and 4 more"),
        ("config.json", {"intermediate_size": 64}, r"is \[96, 64\] and not \[64, 64\]"),
        ("config.json", {"vocab_size": 300}, "another shape than configured"),
        ("config.json", {"hidden_size": None}, "hidden_size is missing"),
        ("generation_config.json", {}, "not valid JSON"),
        ("tokenizer.json", {"model": None}, "no model"),
    ],
)
def test_damage_is_the_models_fault(
    directory: Path, file: str, changes: dict[str, Any], what: str
) -> None:
    if changes:
        _edit(directory / file, **changes)
    else:
        (directory / file).write_text("{", encoding="utf-8")
    with pytest.raises(ModelLoadError, match=what):
        load_model(_files(directory))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files_are_the_models_fault(directory: Path, name: str) -> None:
    files = _files(directory)
    (directory / name).unlink()
    with pytest.raises(ModelLoadError, match=name):
        load_model(files)


def test_truncated_weights_are_the_models_fault(directory: Path) -> None:
    for path in (directory / "model.safetensors", _gguf(directory)):
        files = _files(path if path.suffix == ".gguf" else directory)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(ModelLoadError, match="truncated"):
            load_model(files)


def _with_tensors(directory: Path, **tensors: tuple[str, tuple[int, ...], bytes]) -> None:
    path = directory / "model.safetensors"
    weights = open_safetensors([path])
    stored = {
        name: ("F32", info.shape, weights.load(name).tobytes())
        for name, info in weights.tensors.items()
    }
    path.write_bytes(safetensors_bytes(stored | tensors))


def test_a_tensor_of_unknown_meaning_is_not_passed_over(directory: Path) -> None:
    _with_tensors(directory, **{"model.layers.0.self_attn.q_norm.weight": ("F32", (1,), bytes(4))})
    with pytest.raises(EngineAbsentError, match=r"unknown meaning: .*q_norm\.weight"):
        load_model(_files(directory))


def test_a_tensor_that_is_known_to_be_spare_is(directory: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    _with_tensors(directory, **{name: ("F32", (8,), bytes(32))})
    assert load_model(_files(directory)).network.forward([70]).shape == (288,)


def test_a_tensor_type_that_cannot_be_read_is_our_limit(directory: Path) -> None:
    _with_tensors(directory, **{"model.norm.weight": ("F8_E4M3", (64,), bytes(64))})
    with pytest.raises(EngineAbsentError, match="F8_E4M3"):
        load_model(_files(directory))


def test_a_tokenizer_must_fit_the_embedding(directory: Path) -> None:
    added = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    extra = {"id": 288, "content": "<extra>", "special": True}
    _edit(directory / "tokenizer.json", added_tokens=[*added, extra])
    with pytest.raises(ModelLoadError, match="289 tokens and the embedding 288 rows"):
        load_model(_files(directory))
