"""Models broken in one place: each ends in the gate that speaks of it, and nothing is forgotten."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.vocabulary import Modality, ModelFormat
from tests.broken_models import (
    cut,
    edit_config,
    edit_gguf,
    edit_safetensors,
    set_gguf_number,
    swap_layers,
)
from tests.cells import cell_of, plan_of, prompt_of
from tests.running import Results, run

CHECKS = ("F-STAB-REPEAT-001", "F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001")
G0 = "G0-INTEGRITY-"
NOT_LOADED = "Skipped model:not-loaded"
Tensors = dict[str, npt.NDArray[Any]]


def _cell(
    format_: ModelFormat = ModelFormat.GGUF, modality: Modality = Modality.RUN
) -> PlannedCell:
    checks = CHECKS if format_ is ModelFormat.GGUF else (CHECKS[0], CHECKS[2])
    prompts = [prompt_of("the end"), prompt_of("in and out", max_tokens=24)]
    return cell_of(modality=modality, format=format_, prompts=prompts, checks=checks, inspect=True)


def _falsified(results: Results, cell: PlannedCell | None = None) -> set[str]:
    return {name for name, what in results.outcomes(cell).items() if what == "Falsified"}


def _assert_not_loaded(results: Results) -> None:
    """The model is falsified at G1, and all that needed it is skipped for that, never passed."""
    outcomes = results.outcomes()
    assert outcomes["G1-LOAD"] == "Falsified"
    assert str(results.of("G1-LOAD").cause) == "model:not-loaded"
    after = [name for name in outcomes if not name.startswith(("G0", "G1"))]
    assert {name: outcomes[name] for name in after} == dict.fromkeys(after, NOT_LOADED)


@pytest.mark.parametrize("share", [0.3, 0.98])
def test_a_truncated_gguf_is_neither_whole_nor_loaded(model: Any, share: float) -> None:
    cut(model.gguf, share)
    results = run(plan_of(_cell()), model.root)
    _assert_not_loaded(results)
    assert "G0-TENSOR-001" in _falsified(results)
    assert results.of("G1-LOAD").reason


@pytest.mark.parametrize(("share", "modality"), [(0.3, Modality.RUN), (0.98, Modality.SERVE)])
def test_truncated_safetensors_are_neither_whole_nor_loaded(
    model: Any, share: float, modality: Modality
) -> None:
    cut(model.safetensors, share)
    results = run(plan_of(_cell(ModelFormat.SAFETENSORS, modality)), model.root)
    _assert_not_loaded(results)
    assert "G0-TENSOR-001" in _falsified(results)


@pytest.mark.parametrize("format_", [ModelFormat.SAFETENSORS, ModelFormat.GGUF])
def test_an_empty_file_is_neither_whole_nor_loaded(model: Any, format_: ModelFormat) -> None:
    path = model.gguf if format_ is ModelFormat.GGUF else model.safetensors
    path.write_bytes(b"")
    results = run(plan_of(_cell(format_)), model.root)
    _assert_not_loaded(results)
    assert "G0-TENSOR-001" in _falsified(results)


def _poison(tensors: Tensors) -> None:
    for name, values in tensors.items():
        if "mlp.down_proj" in name or "ffn_down" in name:
            values[:] = np.nan


@pytest.mark.parametrize("format_", [ModelFormat.SAFETENSORS, ModelFormat.GGUF])
def test_nan_weights_are_found_in_the_file_and_in_the_answers(
    model: Any, format_: ModelFormat
) -> None:
    if format_ is ModelFormat.GGUF:
        edit_gguf(model.gguf, _poison)
    else:
        edit_safetensors(model.directory, _poison)
    results = run(plan_of(_cell(format_)), model.root)
    falsified = _falsified(results)
    assert f"{G0}FINITE" in falsified
    assert "F-REGR-ROUNDTRIP-001" in falsified
    # What a model of NaN says is empty or garbage, or the engine refuses to say it.
    assert falsified & {"G4-GARBAGE", "G2-BASIC"}
    assert results.outcomes()["G3-STABLE"] == "Corroborated"


WRONG_CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("LAYERS", {"num_hidden_layers": 3}),
    ("LAYERS", {"num_hidden_layers": 5}),
    ("HIDDEN", {"hidden_size": 256, "head_dim": 64}),
    ("HEADS", {"num_attention_heads": 8}),
    ("HEADS", {"num_key_value_heads": 4}),
    ("HEADS", {"head_dim": 16}),
    ("VOCAB", {"vocab_size": 1100}),
    ("DTYPE", {"torch_dtype": "float32", "dtype": "float32"}),
    ("CONFIG", {"hidden_size": None}),
    ("CONFIG", {"num_hidden_layers": "three"}),
]


@pytest.mark.parametrize(("gate", "changes"), WRONG_CONFIGS)
def test_a_wrong_config_is_found(model: Any, gate: str, changes: dict[str, Any]) -> None:
    edit_config(model.directory, **changes)
    cell = cell_of(format=ModelFormat.SAFETENSORS, inspect=True, load=False, derived=())
    assert f"{G0}{gate}" in _falsified(run(plan_of(cell), model.root))


@pytest.mark.parametrize(
    "changes", [{"num_hidden_layers": 5}, {"head_dim": 16}, {"hidden_size": None}]
)
def test_a_model_that_is_not_what_its_config_says_is_not_loaded(
    model: Any, changes: dict[str, Any]
) -> None:
    edit_config(model.directory, **changes)
    _assert_not_loaded(run(plan_of(_cell(ModelFormat.SAFETENSORS)), model.root))


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "llama"}', None])
def test_an_unreadable_config_is_found(model: Any, text: str | None) -> None:
    path = model.directory / "config.json"
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    results = run(plan_of(_cell(ModelFormat.SAFETENSORS)), model.root)
    assert f"{G0}CONFIG" in _falsified(results)
    _assert_not_loaded(results)


def test_layers_swapped_by_a_converter_are_found_against_the_ground_truth(model: Any) -> None:
    # Every file is well formed and the model answers; only the comparison can tell.
    edit_gguf(model.gguf, swap_layers)
    truth, swapped = _cell(ModelFormat.SAFETENSORS), _cell()
    results = run(plan_of(truth, swapped), model.root)
    assert _falsified(results, truth) == set()
    falsified = _falsified(results, swapped)
    assert falsified >= {"F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"}
    assert not any(name.startswith(("G0", "G1")) for name in falsified)
    assert "blk" not in results.of("F-REGR-ROUNDTRIP-001", swapped).reason
    assert "model.layers." in results.of("F-REGR-ROUNDTRIP-001", swapped).reason


def test_a_scaled_tensor_is_found_by_name(model: Any) -> None:
    def scale(tensors: Tensors) -> None:
        tensors["blk.1.ffn_up.weight"][:] *= 1.5

    edit_gguf(model.gguf, scale)
    results = run(plan_of(_cell()), model.root)
    assert "F-REGR-ROUNDTRIP-001" in _falsified(results)
    figures = json.loads(results.of("F-REGR-ROUNDTRIP-001").output)
    assert figures["worst_tensor"] == "model.layers.1.mlp.up_proj.weight"
    assert figures["worst_error"] == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("text", [None, '{"model": 3}'], ids=["missing", "spoiled"])
def test_a_model_without_tokenizer_is_not_loaded(model: Any, text: str | None) -> None:
    path = model.directory / "tokenizer.json"
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    results = run(plan_of(_cell(ModelFormat.SAFETENSORS)), model.root)
    assert "G0-TOKENIZER-001" in _falsified(results)
    _assert_not_loaded(results)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.block_count", 3),
        ("llama.context_length", 1024),
        ("llama.attention.head_count_kv", 4),
        ("llama.vocab_size", 1100),
        ("tokenizer.ggml.eos_token_id", 1),
    ],
)
def test_metadata_of_another_model_are_found(model: Any, key: str, value: int) -> None:
    set_gguf_number(model.gguf, key, value)
    results = run(plan_of(cell_of(inspect=True, load=False, derived=())), model.root)
    assert "G0-METADATA-001" in _falsified(results)
    assert (
        key.rpartition(".")[2] in results.of("G0-METADATA-001").reason
        or results.of("G0-METADATA-001").reason
    )


def test_one_broken_format_does_not_touch_the_other(model: Any) -> None:
    cut(model.gguf, 0.5)
    sound, broken = _cell(ModelFormat.SAFETENSORS), _cell()
    results = run(plan_of(sound, broken), model.root, workers=2)
    assert set(results.outcomes(sound).values()) == {"Corroborated"}
    assert results.outcomes(broken)["G1-LOAD"] == "Falsified"


def test_a_broken_ground_truth_is_no_verdict_on_the_other_format(model: Any) -> None:
    cut(model.safetensors, 0.5)
    results = run(plan_of(_cell()), model.root)
    outcomes = results.outcomes()
    assert outcomes["F-COMP-AGREE-001"] == "Skipped infrastructure:no-ground-truth"
    assert outcomes["G1-LOAD"] == outcomes["001"] == "Corroborated"
