"""Each change breaks what it says, and nothing else."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aprqa_ci.data_files import bundled_model
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.tokenizer import load_tokenizer
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.weight_comparison import relative_error
from aprqa_ci.selftest.mutants import chosen_samples, mutant_file
from aprqa_ci.selftest.transforms import NotApplicableError, apply_transform

SOUND = bundled_model()
Q8, F16, ST = "aprqa-tiny-q8_0.gguf", "aprqa-tiny-f16.gguf", "model.safetensors"
FILES = [
    sample
    for sample in chosen_samples(mutant_file().mutants)
    if sample.mutant.transform is not None
]


def changed(model: Path) -> set[str]:
    """The names of the files that are not as in the sound model, lost and new ones too."""
    names = {path.name for path in (*model.iterdir(), *SOUND.iterdir())}
    return {
        name
        for name in names
        if not (model / name).exists()
        or not (SOUND / name).exists()
        or (model / name).read_bytes() != (SOUND / name).read_bytes()
    }


def gguf(path: Path, name: str) -> np.ndarray[Any, Any]:
    with closing(open_gguf(path)) as opened:
        return np.array(opened.load(name))


def document(model: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((model / name).read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize("sample", FILES[::9], ids=lambda sample: sample.id)
def test_a_mutant_of_the_files_changes_them_each_time_alike(model: Path, sample: Any) -> None:
    apply_transform(sample.mutant.transform, model, sample.parameters)
    first = {path.name: path.read_bytes() for path in model.iterdir()}
    assert changed(model)
    for path in model.iterdir():
        path.unlink()
    for path in SOUND.iterdir():
        (model / path.name).write_bytes(path.read_bytes())
    apply_transform(sample.mutant.transform, model, sample.parameters)
    assert {path.name: path.read_bytes() for path in model.iterdir()} == first


def test_files_are_cut_overwritten_replaced_and_removed(model: Path) -> None:
    apply_transform("truncate", model, {"file": "*q8_0.gguf", "share": 0.5})
    assert (model / Q8).stat().st_size == (SOUND / Q8).stat().st_size // 2
    apply_transform("overwrite", model, {"file": "*f16.gguf", "offset": 2, "text": "xy"})
    assert (model / F16).read_bytes()[:5] == (SOUND / F16).read_bytes()[:2] + b"xy" + b"\x03"
    apply_transform("replace", model, {"file": "*q4_0.gguf", "text": "404"})
    assert (model / "aprqa-tiny-q4_0.gguf").read_bytes() == b"404"
    apply_transform("replace", model, {"file": "*q4_0.gguf", "source": "*f16.gguf"})
    assert (model / "aprqa-tiny-q4_0.gguf").read_bytes() == (model / F16).read_bytes()
    apply_transform("remove", model, {"file": "config.json"})
    assert not (model / "config.json").exists()
    with pytest.raises(NotApplicableError, match=r"no \*\.bin"):
        apply_transform("remove", model, {"file": "*.bin"})


@pytest.mark.parametrize("region", ["header", "tokenizer", "weights", "file"])
def test_bits_flip_in_their_region_alone(model: Path, region: str) -> None:
    apply_transform(
        "flip-bits", model, {"file": "*q8_0.gguf", "region": region, "count": 9, "seed": 1}
    )
    assert changed(model) == {Q8}
    before, after = (SOUND / Q8).read_bytes(), (model / Q8).read_bytes()
    places = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert 1 <= len(places) <= 9
    assert sum((before[n] ^ after[n]).bit_count() for n in places) <= 9
    with closing(open_gguf(SOUND / Q8)) as opened:
        first = min(info.offset for info in opened.tensors.values())
    tokens = before.index(b"tokenizer.ggml.tokens")
    low, high = {
        "header": (0, first),
        "tokenizer": (tokens, first),
        "weights": (first, len(before)),
        "file": (0, len(before)),
    }[region]
    assert low <= places[0]
    assert places[-1] < high


def test_safetensors_have_no_tokenizer_to_flip_bits_of(model: Path) -> None:
    with pytest.raises(NotApplicableError, match="holds no tokenizer"):
        apply_transform(
            "flip-bits", model, {"file": ST, "region": "tokenizer", "count": 1, "seed": 1}
        )


def _weights(model: Path) -> dict[str, np.ndarray[Any, Any]]:
    with closing(open_safetensors(sorted(model.glob("*.safetensors")))) as opened:
        return {name: np.array(opened.load(name)) for name in opened.tensors}


@pytest.mark.parametrize("parts", [2, 5])
def test_shards_hold_what_the_one_file_held(model: Path, parts: int) -> None:
    before = _weights(model)
    apply_transform("shard", model, {"parts": parts, "damage": "none"})
    after = _weights(model)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[name], before[name]) for name in before)
    index = document(model, "model.safetensors.index.json")["weight_map"]
    assert set(index) == set(before)
    assert len(set(index.values())) == parts


def test_shards_are_damaged_as_they_say(model: Path) -> None:
    apply_transform("shard", model, {"parts": 2, "damage": "missing"})
    assert len(list(model.glob("*.safetensors"))) == 1
    index = "model.safetensors.index.json"
    for damage in ("stale-index", "index-of-other", "swapped"):
        for path in model.glob("model*"):
            path.unlink()
        (model / ST).write_bytes((SOUND / ST).read_bytes())
        apply_transform("shard", model, {"parts": 2, "damage": damage})
        places = document(model, index)["weight_map"]
        with closing(open_safetensors([model / "model-00001-of-00002.safetensors"])) as opened:
            here = set(opened.tensors)
        if damage == "stale-index":
            assert [name for name in places if name.endswith(".old")]
        elif damage == "index-of-other":
            assert len(set(places.values())) == 1
        else:
            assert not here & {n for n, file in places.items() if file.startswith("model-00001")}


def test_documents_are_changed_at_the_key(model: Path) -> None:
    apply_transform(
        "json-value", model, {"file": "config.json", "keys": ["hidden_size", "none"], "value": 1}
    )
    assert document(model, "config.json") == {**document(SOUND, "config.json"), "hidden_size": 1}
    apply_transform(
        "json-value", model, {"file": "config.json", "keys": ["hidden_size"], "absent": True}
    )
    assert "hidden_size" not in document(model, "config.json")
    with pytest.raises(NotApplicableError, match="says nothing of hidden_size"):
        apply_transform(
            "json-value", model, {"file": "config.json", "keys": ["hidden_size"], "value": 1}
        )
    apply_transform("chat-template", model, {"text": None})
    assert "chat_template" not in document(model, "tokenizer_config.json")
    apply_transform("chat-template", model, {"text": "x"})
    assert document(model, "tokenizer_config.json")["chat_template"] == "x"


def test_numbers_of_metadata_are_changed_in_place(model: Path) -> None:
    for key, value in (("llama.block_count", 7), ("llama.rope.freq_base", 0.5)):
        apply_transform("gguf-number", model, {"file": "*q8_0.gguf", "key": key, "value": value})
        with closing(open_gguf(model / Q8)) as opened:
            assert opened.metadata[key] == value
    for key in ("llama.no_such_key", "general.architecture"):
        with pytest.raises(NotApplicableError):
            apply_transform("gguf-number", model, {"file": "*q8_0.gguf", "key": key, "value": 1})


def test_the_tokenizer_is_broken_as_it_says(model: Path) -> None:
    sound = document(SOUND, "tokenizer.json")["model"]
    apply_transform("shuffle-merges", model, {"share": 0.3, "seed": 1})
    merges = document(model, "tokenizer.json")["model"]["merges"]
    assert merges != sound["merges"]
    assert sorted(map(str, merges)) == sorted(map(str, sound["merges"]))
    apply_transform("swap-tokens", model, {"count": 2, "seed": 1})
    vocabulary = document(model, "tokenizer.json")["model"]["vocab"]
    assert sum(vocabulary[token] != number for token, number in sound["vocab"].items()) == 4
    apply_transform("special-token", model, {"token": "<|im_end|>", "special": False})
    assert load_tokenizer(model).special_ids == load_tokenizer(SOUND).special_ids - {2}
    apply_transform("special-token", model, {"token": "<|im_end|>"})
    assert len(document(model, "tokenizer.json")["added_tokens"]) == 2
    with pytest.raises(NotApplicableError):
        apply_transform("special-token", model, {"token": "<none>"})
    apply_transform("lost-bytes", model, {"characters": "q"})
    assert "q" not in document(model, "tokenizer.json")["model"]["vocab"]
    with pytest.raises(NotApplicableError):
        apply_transform("lost-bytes", model, {"characters": "q"})


NAME = "blk.0.attn_q.weight"


@pytest.mark.parametrize(
    ("change", "strength", "same"),
    [
        ("zero", 1.0, lambda new, old: not new.any() and old.any()),
        ("negate", 1.0, lambda new, old: np.array_equal(new, -old)),
        ("scale", 2.0, lambda new, old: np.array_equal(new, 2 * old)),
        ("nan", 3, lambda new, _old: np.isnan(new).sum() == 3),
        ("inf", 2, lambda new, _old: np.isinf(new).sum() == 2),
        ("transpose", 1.0, lambda new, old: np.array_equal(new, old.T)),
        ("halves", 1.0, lambda new, old: np.array_equal(new[:64], old[64:])),
        ("rows", 0.1, lambda new, old: (new != old).any(axis=1).sum() == 12),
        ("columns", 0.1, lambda new, old: (new != old).any(axis=0).sum() == 12),
        ("noise", 0.1, lambda new, old: abs(relative_error(new, old) - 0.1) < 0.01),
        ("shift", 0.5, lambda new, old: abs((new - old).mean() - 0.5 * old.std()) < 0.01),
    ],
)
def test_tensors_are_changed_as_they_say(
    model: Path, change: str, strength: float, same: Any
) -> None:
    apply_transform(
        "tensor", model, {"file": F16, "name": NAME, "change": change, "strength": strength}
    )
    assert changed(model) == {F16}
    assert same(gguf(model / F16, NAME), gguf(SOUND / F16, NAME))
    other = "blk.1.attn_q.weight"
    assert np.array_equal(gguf(model / F16, other), gguf(SOUND / F16, other))


def test_all_tensors_of_a_name_are_changed_when_asked(model: Path) -> None:
    parameters = {"file": F16, "name": "blk.*.attn_q.weight", "change": "zero"}
    apply_transform("tensor", model, parameters)
    assert [gguf(model / F16, f"blk.{n}.attn_q.weight").any() for n in range(4)] == [0, 1, 1, 1]
    apply_transform("tensor", model, {**parameters, "first": False})
    assert not any(gguf(model / F16, f"blk.{n}.attn_q.weight").any() for n in range(4))


def test_tensors_that_are_not_there_or_not_plain_cannot_be_changed(model: Path) -> None:
    with pytest.raises(NotApplicableError, match=r"no tensor blk\.9"):
        apply_transform("tensor", model, {"file": F16, "name": "blk.9*", "change": "zero"})
    with pytest.raises(NotApplicableError, match="stored as Q8_0"):
        apply_transform("tensor", model, {"file": Q8, "name": NAME, "change": "zero"})
    with pytest.raises(NotApplicableError, match="no counterpart"):
        apply_transform("swap-tensors", model, {"file": Q8, "first": "blk.0.", "second": "blk.9."})
    with pytest.raises(NotApplicableError, match="known blocks"):
        apply_transform("blocks", model, {"file": F16, "name": NAME, "change": "nan"})


def test_layers_are_exchanged_whatever_they_are_stored_as(model: Path) -> None:
    apply_transform("swap-tensors", model, {"file": Q8, "first": "blk.0.", "second": "blk.1."})
    for part in ("attn_q", "ffn_down", "attn_norm"):
        ours, theirs = f"blk.0.{part}.weight", f"blk.1.{part}.weight"
        assert np.array_equal(gguf(model / Q8, ours), gguf(SOUND / Q8, theirs))
        assert np.array_equal(gguf(model / Q8, theirs), gguf(SOUND / Q8, ours))


@pytest.mark.parametrize(
    ("change", "strength", "same"),
    [
        ("scale", 2.0, lambda new, old: np.allclose(new, 2 * old, atol=1e-6)),
        ("reverse", 1, lambda new, old: np.array_equal(new[-1][-32:], old[0][:32])),
        ("nan", 1, lambda new, _old: np.isnan(new).sum() == 32),
        ("unsigned", 1, lambda new, _old: new.min() >= 0),
        (
            "shift-scales",
            1,
            lambda new, old: not np.array_equal(new, old) and np.array_equal(new != 0, old != 0),
        ),
    ],
)
def test_blocks_are_changed_as_they_say(
    model: Path, change: str, strength: float, same: Any
) -> None:
    apply_transform(
        "blocks", model, {"file": Q8, "name": NAME, "change": change, "strength": strength}
    )
    assert changed(model) == {Q8}
    assert same(gguf(model / Q8, NAME), gguf(SOUND / Q8, NAME))


def test_halves_of_bytes_are_exchanged(model: Path) -> None:
    name = "aprqa-tiny-q4_0.gguf"
    apply_transform("blocks", model, {"file": name, "name": NAME, "change": "nibbles"})
    new, old = gguf(model / name, NAME)[0], gguf(SOUND / name, NAME)[0]
    assert np.array_equal(new[:16], old[16:32])


def test_a_tensor_gets_another_type_in_the_directory(model: Path) -> None:
    apply_transform("retype", model, {"file": Q8, "name": NAME, "type": 2})
    before, after = (SOUND / Q8).read_bytes(), (model / Q8).read_bytes()
    assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [(8, 2)]


def test_weights_are_quantized_twice(model: Path) -> None:
    apply_transform("requantize", model, {"file": Q8, "through": "q4_0", "to": "q8_0"})
    truth = _weights(SOUND)["model.embed_tokens.weight"]
    once = relative_error(gguf(SOUND / Q8, "token_embd.weight"), truth)
    twice = relative_error(gguf(model / Q8, "token_embd.weight"), truth)
    assert twice > 5 * once


def test_a_broken_source_is_converted_again(model: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"
    change = {"file": ST, "name": name, "change": "zero", "reconvert": "q8_0"}
    apply_transform("tensor", model, change)
    assert changed(model) == {ST, Q8}
    assert not gguf(model / Q8, "blk.0.ffn_up.weight").any()
    assert gguf(model / Q8, NAME).any()


def test_a_source_that_cannot_be_converted_says_so(model: Path) -> None:
    with pytest.raises(FormatError):
        apply_transform("remove", model, {"file": "config.json", "reconvert": "q8_0"})
