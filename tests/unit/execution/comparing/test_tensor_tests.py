"""Each difference is found, named and measured; sound files of every precision hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from aprqa_ci.execution.comparing.file_tests import FILE_TESTS
from aprqa_ci.execution.comparing.named_tensors import NamedTensors, kind_of, selected
from aprqa_ci.execution.comparing.statistics import (
    TensorStatisticsFile,
    checksum_of,
    statistics_of,
)
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.wire import pretty_json
from tests.broken_models import edit_config, edit_gguf, edit_safetensors, gguf_of, safetensors_of
from tests.tiny_llama import write_tiny_llama

Judge = Callable[..., Any]
Tensors = dict[str, npt.NDArray[Any]]
QUANTIZED = {"q8_0": "high", "q5_1": "medium", "q4_0": "low"}


@pytest.fixture
def reference(truth: ModelFiles, tmp_path: Path) -> TensorStatisticsFile:
    with NamedTensors(truth) as tensors:
        found = {name: statistics_of(tensors.load(name)) for name in tensors.tensors}
    file = TensorStatisticsFile(source={}, tensors=found)
    (tmp_path / "reference.json").write_bytes(pretty_json(file))
    return file


@pytest.mark.parametrize("gate", FILE_TESTS)
def test_a_sound_conversion_holds(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles, gate: str
) -> None:
    found = judge(gate, gguf, truth)
    assert found.state == "corroborated", found.reason
    counted = {"tensors", "matrices", "texts", "tokens"} & set(found.figures)
    assert all(found.figures[name] > 0 for name in counted)
    assert counted


@pytest.mark.parametrize("quantization", QUANTIZED)
def test_quantized_files_hold_what_they_can(
    judge: Judge, truth: ModelFiles, tmp_path: Path, quantization: str
) -> None:
    path = tmp_path / f"tiny-{quantization}.gguf"
    convert_safetensors_to_gguf(truth.directory, path, quantization)
    limit = load_limits().classes[QUANTIZED[quantization]].weight_error
    model = gguf_of(path)
    for gate in ("F-CONTRACT-I2-001", "F-CONTRACT-I3-001", "F-CONTRACT-I4-001"):
        assert judge(gate, model, truth, limit=limit).state == "corroborated", gate
    found = judge("F-ROSETTA-DIFF-001", model, truth, limit=limit)
    assert found.state == "corroborated"
    assert 0 < found.figures["worst_error"] <= limit
    assert judge("F-ROSETTA-DIFF-001", model, truth, limit=1e-4).state == "falsified"
    found = judge("F-ROSETTA-FP-002", model, truth)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
    assert judge("F-ROSETTA-INF-002", model, truth).state == "falsified"


@pytest.mark.parametrize("storage", ["f16", "bf16", "f32"])
def test_checksums_are_those_of_the_numbers_as_they_are_stored(
    judge: Judge, tmp_path: Path, storage: str
) -> None:
    wide = safetensors_of(write_tiny_llama(tmp_path / "wide", storage="F32"))
    path = tmp_path / "narrow.gguf"
    convert_safetensors_to_gguf(wide.directory, path, storage)
    narrow = gguf_of(path)
    assert judge("F-ROSETTA-FP-002", narrow, wide).state == "corroborated"

    def change(tensors: Tensors) -> None:
        tensors["output_norm.weight"][3] += 0.5

    edit_gguf(path, change)
    found = judge("F-ROSETTA-FP-002", narrow, wide)
    assert found.reason.startswith("model.norm.weight has another checksum (the checksums of 20")


def test_both_zeros_are_one_number() -> None:
    zeros = np.array([0.0, -0.0], np.float32)
    assert checksum_of(zeros) == checksum_of(zeros[::-1])
    assert checksum_of(zeros) != checksum_of(np.array([0.0, 1e-30], np.float32))


def test_a_transposed_tensor_is_named(judge: Judge, gguf: ModelFiles, truth: ModelFiles) -> None:
    def turn(tensors: Tensors) -> None:
        tensors["blk.1.attn_output.weight"][:] = tensors["blk.1.attn_output.weight"].T.copy()

    edit_gguf(gguf.weights[0], turn)
    found = judge("F-ROSETTA-DIFF-001", gguf, truth)
    name = "model.layers.1.self_attn.o_proj.weight"
    assert found.state == "falsified"
    assert found.reason.startswith(f"{name} is transposed")
    assert found.figures["transposed"] == [name]
    # Its shape is square: names and shapes show nothing.
    assert judge("F-ROSETTA-DIFF-002", gguf, truth).state == "corroborated"
    # The filter leaves it out, and the others are sound.
    others = judge("F-ROSETTA-DIFF-001", gguf, truth, tensors=("layers.0", "embed"))
    assert (others.state, others.figures["tensors"]) == ("corroborated", 10)


def test_one_number_that_is_off_is_found_where_it_is(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles
) -> None:
    def change(tensors: Tensors) -> None:
        tensors["blk.0.ffn_up.weight"][5, 7] += 100

    edit_gguf(gguf.weights[0], change)
    found = judge("F-ROSETTA-DIFF-001", gguf, truth)
    assert found.figures["worst_tensor"] == "model.layers.0.mlp.up_proj.weight"
    assert found.figures["where"] == [5, 7]
    assert found.figures["largest_difference"] == pytest.approx(100, rel=1e-2)
    found = judge("F-CONTRACT-I4-001", gguf, truth)
    assert found.state == "falsified"
    assert found.figures["worst_tensor"] == "model.layers.0.mlp.up_proj.weight"
    assert judge("F-ROSETTA-FP-003", gguf, truth, statistics=("max",)).state == "falsified"
    assert judge("F-ROSETTA-FP-003", gguf, truth, statistics=("min",)).state == "corroborated"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles, value: float
) -> None:
    def poison(tensors: Tensors) -> None:
        tensors["blk.0.attn_norm.weight"][3] = value

    edit_gguf(gguf.weights[0], poison)
    name = "model.layers.0.input_layernorm.weight"
    found = judge("F-ROSETTA-FP-001", gguf, truth)
    assert found.reason.startswith(f"{name} has a NaN or an infinity")
    for gate in ("F-CONTRACT-I4-001", "F-ROSETTA-STATS-001", "F-ROSETTA-INF-002"):
        assert judge(gate, gguf, truth).state == "falsified", gate


def test_missing_and_other_tensors_are_named(
    judge: Judge, gguf: ModelFiles, tmp_path: Path
) -> None:
    config = {"num_hidden_layers": 3, "intermediate_size": 128}
    other = safetensors_of(write_tiny_llama(tmp_path / "other", config=config))
    names = judge("F-CONTRACT-I2-001", gguf, other)
    assert names.state == "falsified"
    assert "9 tensors are missing: model.layers.2." in names.reason
    assert "1 tensors are not in the ground truth: lm_head.weight" in names.reason
    shapes = judge("F-ROSETTA-DIFF-002", gguf, other)
    assert "model.layers.2.input_layernorm.weight is missing" in shapes.reason
    assert len(shapes.figures["other_shape"]) == 2 * 3
    assert judge("F-ROSETTA-DIFF-001", gguf, other).state == "falsified"
    for gate in ("F-CONTRACT-I4-001", "F-ROSETTA-FP-002", "F-ROSETTA-STATS-004"):
        assert "is missing" in judge(gate, gguf, other).reason


def test_a_tied_output_is_no_missing_tensor(judge: Judge, tmp_path: Path) -> None:
    tied = safetensors_of(write_tiny_llama(tmp_path / "tied", tied=True))
    path = tmp_path / "tied.gguf"
    convert_safetensors_to_gguf(tied.directory, path, "f16")
    found = judge("F-CONTRACT-I2-001", gguf_of(path), tied)
    assert (found.state, found.figures["tensors"]) == ("corroborated", 20)


def test_a_reference_file_takes_the_ground_truths_place(
    judge: Judge, truth: ModelFiles, reference: TensorStatisticsFile
) -> None:
    names = ("layernorm", "embedding", "attention")
    assert {kind_of(name) for name in reference.tensors} == {*names, "other"}
    for number, name in enumerate(names, start=1):
        gate = f"F-ROSETTA-STATS-00{number}"
        found = judge(gate, truth, None, reference="reference.json")
        assert (found.state, found.figures["worst_offset"]) == ("corroborated", 0.0)

        def shift(tensors: Tensors, name: str = name) -> None:
            for tensor, values in tensors.items():
                if kind_of(tensor) == name:
                    values[:] += 0.25

        edit_safetensors(truth.directory, shift)
        found = judge(gate, truth, None, reference="reference.json")
        assert found.state == "falsified"
        assert found.figures["worst_offset"] == pytest.approx(0.25, rel=0.01)
        assert judge(gate, truth, None, reference="reference.json", **{name: 0.3}).state == (
            "corroborated"
        )


def test_every_tensor_of_the_reference_is_looked_for(
    judge: Judge, truth: ModelFiles, reference: TensorStatisticsFile, tmp_path: Path
) -> None:
    gate = "F-ROSETTA-STATS-004"
    assert judge(gate, truth, None, reference="reference.json").state == "corroborated"
    data = json.loads((tmp_path / "reference.json").read_text(encoding="utf-8"))
    first, second = list(reference.tensors)[:2]
    data["tensors"]["gone.weight"] = data["tensors"].pop(first)
    data["tensors"][second]["elements"] += 1
    (tmp_path / "reference.json").write_text(json.dumps(data), encoding="utf-8")
    found = judge(gate, truth, None, reference="reference.json")
    assert "gone.weight is missing" in found.reason
    assert f"{first} is not in the reference" in found.reason
    assert f"{second} has" in found.reason


def test_norms_that_were_lost(judge: Judge, truth: ModelFiles) -> None:
    rng = np.random.default_rng(1)

    def vary(tensors: Tensors) -> None:
        for name, values in tensors.items():
            if "norm" in name:
                values[:] = rng.uniform(0.5, 1.5, values.shape)

    edit_safetensors(truth.directory, vary)
    for number in (5, 6):
        assert judge(f"F-ROSETTA-STATS-00{number}", truth).state == "corroborated"

    def lose(tensors: Tensors) -> None:
        tensors["model.layers.1.input_layernorm.weight"][:] = 0

    edit_safetensors(truth.directory, lose)
    for number, said in ((5, "has a mean of 0"), (6, "is 0 throughout")):
        found = judge(f"F-ROSETTA-STATS-00{number}", truth)
        assert found.reason.startswith(f"model.layers.1.input_layernorm.weight {said}")


def test_logits_are_compared_along_the_ground_truths_answer(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles
) -> None:
    found = judge("F-ROSETTA-INF-002", gguf, truth, prompt="the end", max_tokens=4)
    assert found.figures["largest_difference"] == 0.0
    assert 1 <= found.figures["tokens"] <= 4
    assert found.figures["same_best"] == found.figures["tokens"]

    def change(tensors: Tensors) -> None:
        tensors["output.weight"][40] *= 1.5

    edit_gguf(gguf.weights[0], change)
    found = judge("F-ROSETTA-INF-002", gguf, truth, prompt="the end", max_tokens=4)
    assert found.state == "falsified"
    assert found.figures["at_vocabulary"] == 40
    loose = {"prompt": "the end", "max_tokens": 4, "logit_tolerance": 1e6}
    assert judge("F-ROSETTA-INF-002", gguf, truth, **loose).state == "corroborated"


def test_another_vocabulary_is_no_agreement(judge: Judge, gguf: ModelFiles, tmp_path: Path) -> None:
    other = safetensors_of(write_tiny_llama(tmp_path / "o", config={"vocab_size": 320}))
    found = judge("F-ROSETTA-INF-002", gguf, other)
    assert found.state == "falsified"


def test_a_part_of_a_name_ends_where_its_number_does() -> None:
    names = ("a.layers.2.b", "a.layers.20.b", "a.layers.2", "c.embed")
    assert selected(names, ("layers.2",)) == ("a.layers.2.b", "a.layers.2")
    assert selected(names, ("embed", "layers.20")) == ("a.layers.20.b", "c.embed")
    assert selected(names, ()) == names


def test_an_architecture_that_is_not_known_is_not_judged(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles
) -> None:
    edit_config(truth.directory, architectures=["FalconForCausalLM"])
    found = judge("F-CONTRACT-I2-001", gguf, truth)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
    assert judge("F-ROSETTA-FP-001", gguf, truth).state == "corroborated"
