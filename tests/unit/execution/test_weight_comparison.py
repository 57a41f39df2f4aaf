import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.weight_comparison import WeightComparison, compare_weights, relative_error
from aprqa_ci.vocabulary import ModelFormat
from tests.broken_models import edit_gguf, edit_safetensors, gguf_of, safetensors_of, swap_layers
from tests.tiny_llama import write_tiny_llama

Array = npt.NDArray[np.float32]
QUERY, KEY = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.k_proj.weight"
ARRAYS = stn.arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "model")


@pytest.fixture
def converted(model: Path, tmp_path: Path) -> Callable[[str], ModelFiles]:
    def convert(quantization: str) -> ModelFiles:
        path = tmp_path / f"tiny-{quantization}.gguf"
        convert_safetensors_to_gguf(model, path, quantization)
        return gguf_of(path)

    return convert


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "scratch"
    path.mkdir()
    return path


@given(ARRAYS)
def test_nothing_is_off_from_itself(array: Array) -> None:
    assert relative_error(array, array.copy()) == 0.0


@given(ARRAYS.filter(lambda array: bool(np.abs(array).max() > 0.01)), st.floats(0, 10))
def test_scaling_is_off_by_the_change(array: Array, factor: float) -> None:
    scaled = (array * np.float32(factor)).astype(np.float32)
    assert relative_error(scaled, array) == pytest.approx(abs(factor - 1), abs=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([0.0, 0.0], [3.0, 4.0], 1.0),
        ([1.0], [0.0], np.inf),
        ([0.0], [0.0], 0.0),
        ([np.nan], [1.0], np.inf),
        ([np.inf], [np.inf], np.inf),
        ([1.0], [np.nan], np.inf),
        ([1.0, 2.0], [[1.0, 2.0]], np.inf),
        ([], [], 0.0),
    ],
)
def test_relative_error_of_odd_arrays(
    ours: list[float], theirs: list[float], expected: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = relative_error(np.array(ours, np.float32), np.array(theirs, np.float32))
    assert found == expected


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("storage", ["F16", "BF16", "F32"])
def test_safetensors_go_forth_and_back_unchanged(
    tmp_path: Path, scratch: Path, storage: str, tied: bool
) -> None:
    model = write_tiny_llama(tmp_path / "model", storage=storage, tied=tied)
    found = compare_weights(safetensors_of(model), None, scratch=scratch)
    assert found.exact
    assert found.worst_error == 0.0
    # Two blocks of nine, embedding, norm, and the output if it is a tensor of its own.
    assert found.tensors == 2 * 9 + 2 + (not tied)


def test_a_sharded_model_goes_forth_and_back(tmp_path: Path, scratch: Path) -> None:
    model = write_tiny_llama(tmp_path / "model", shards=3)
    found = compare_weights(safetensors_of(model), None, scratch=scratch)
    assert found.exact
    assert found.tensors == 20


def test_a_gguf_of_the_same_precision_is_exactly_the_ground_truth(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    found = compare_weights(converted("f16"), safetensors_of(model), scratch=scratch)
    assert found.exact
    assert found.tensors == 20


@pytest.mark.parametrize(("name", "kind"), [("q8_0", "high"), ("q4_0", "low")])
def test_a_quantized_gguf_is_off_but_within_its_class(
    model: Path,
    converted: Callable[[str], ModelFiles],
    scratch: Path,
    name: str,
    kind: str,
) -> None:
    found = compare_weights(converted(name), safetensors_of(model), scratch=scratch)
    assert not found.exact
    assert 0 < found.worst_error <= load_limits().classes[kind].weight_error
    assert found.worst_tensor.endswith(".weight")


def test_a_gguf_alone_goes_forth_and_back(
    converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    found = compare_weights(converted("q8_0"), None, scratch=scratch)
    assert found.exact
    assert found.tensors == 20


@pytest.mark.parametrize("name", ["q8_0", "q4_0"])
def test_a_quantized_gguf_is_as_near_to_its_source_as_its_type_allows(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path, name: str
) -> None:
    found = compare_weights(converted(name), safetensors_of(model), scratch=scratch).excess
    # Every matrix; the norms are not quantized.
    assert found.tensors == 2 * 7 + 1
    assert found.worst is not None
    assert found.worst.ratio == pytest.approx(1.0)
    assert found.typical == pytest.approx(1.0)


def test_without_its_source_nothing_is_said_of_a_quantization(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    assert compare_weights(converted("q8_0"), None, scratch=scratch).excess.tensors == 0
    (scratch / "forth").mkdir()
    half = compare_weights(converted("f16"), safetensors_of(model), scratch=scratch)
    assert half.excess.tensors == 0


def test_swapped_layers_are_far_off(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    gguf = converted("f16")
    edit_gguf(gguf.weights[0], swap_layers)
    found = compare_weights(gguf, safetensors_of(model), scratch=scratch)
    assert not found.exact
    # Independent random tensors of one scale are off by the square root of two.
    assert found.worst_error == pytest.approx(2**0.5, rel=0.1)


def test_one_scaled_tensor_is_named(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    gguf = converted("f16")

    def scale(tensors: dict[str, Array]) -> None:
        tensors["blk.1.attn_k.weight"][:] *= 2

    edit_gguf(gguf.weights[0], scale)
    found = compare_weights(gguf, safetensors_of(model), scratch=scratch)
    assert found.worst_tensor == KEY
    assert found.worst_error == pytest.approx(1.0, rel=1e-3)
    assert not found.exact


def test_query_rows_in_the_wrong_order_are_found(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    gguf = converted("f16")

    def rotate(tensors: dict[str, Array]) -> None:
        tensors["blk.0.attn_q.weight"][:] = np.roll(tensors["blk.0.attn_q.weight"], 1, axis=0)

    edit_gguf(gguf.weights[0], rotate)
    found = compare_weights(gguf, safetensors_of(model), scratch=scratch)
    assert found.worst_tensor == QUERY
    assert found.worst_error > 1


def test_a_nan_is_infinitely_far_off(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    gguf = converted("f16")

    def poison(tensors: dict[str, Array]) -> None:
        tensors["output_norm.weight"][3] = np.nan

    edit_gguf(gguf.weights[0], poison)
    found = compare_weights(gguf, safetensors_of(model), scratch=scratch)
    assert (found.worst_tensor, found.worst_error) == ("model.norm.weight", np.inf)


def test_a_nan_on_both_sides_is_no_agreement(model: Path, scratch: Path) -> None:
    def poison(tensors: dict[str, Array]) -> None:
        tensors["model.norm.weight"][3] = np.nan

    edit_safetensors(model, poison)
    found = compare_weights(safetensors_of(model), None, scratch=scratch)
    assert not found.exact
    assert found.worst_error == np.inf


def test_a_tensor_that_the_gguf_lacks_is_named(model: Path, tmp_path: Path, scratch: Path) -> None:
    smaller = write_tiny_llama(tmp_path / "small", config={"num_hidden_layers": 1})
    path = tmp_path / "small.gguf"
    convert_safetensors_to_gguf(smaller, path, "f16")
    found = compare_weights(gguf_of(path), safetensors_of(model), scratch=scratch)
    assert found.worst_error == np.inf
    assert not found.exact
    assert found.reason == f"{found.worst_tensor} is missing in small.gguf"
    assert found.worst_tensor.startswith("model.layers.1.")


def test_another_shape_is_infinitely_far_off(model: Path, tmp_path: Path, scratch: Path) -> None:
    other = write_tiny_llama(tmp_path / "other", config={"intermediate_size": 128})
    path = tmp_path / "other.gguf"
    convert_safetensors_to_gguf(other, path, "f16")
    found = compare_weights(gguf_of(path), safetensors_of(model), scratch=scratch)
    assert found.worst_error == np.inf
    assert ".mlp." in found.worst_tensor


def test_apr_and_split_files_are_not_compared(
    converted: Callable[[str], ModelFiles], scratch: Path
) -> None:
    path = converted("f16").weights[0]
    apr = ModelFiles(
        format=ModelFormat.APR, weights=(path,), directory=path.parent, source="local_path"
    )
    split = ModelFiles(
        format=ModelFormat.GGUF, weights=(path, path), directory=path.parent, source="local_path"
    )
    for files in (apr, split):
        found = compare_weights(files, None, scratch=scratch)
        assert found.tensors == 0
        assert not found.exact
        assert found.reason


def test_an_unknown_architecture_says_nothing_of_the_model(model: Path, scratch: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "mamba", "architectures": ["MambaForCausalLM"]}
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(EngineAbsentError):
        compare_weights(safetensors_of(model), None, scratch=scratch)


@pytest.mark.parametrize("damage", ["cut", "config-missing", "config-not-json", "config-a-list"])
def test_damaged_files_are_the_models_fault(
    model: Path, converted: Callable[[str], ModelFiles], scratch: Path, damage: str
) -> None:
    gguf = converted("f16")
    truth = safetensors_of(model)
    config = model / "config.json"
    match damage:
        case "cut":
            gguf.weights[0].write_bytes(gguf.weights[0].read_bytes()[:5000])
        case "config-missing":
            config.unlink()
        case "config-not-json":
            config.write_text("{", encoding="utf-8")
        case _:
            config.write_text("[]", encoding="utf-8")
    with pytest.raises(ModelLoadError):
        compare_weights(gguf, truth, scratch=scratch)


class Apr:
    """Stands for the converter of APR files; what it writes is given. It proves nothing of apr."""

    def __init__(self, written: Path | None) -> None:
        self._written = written

    def convert(self, source: Path, target: Path) -> str:
        if self._written is None:
            what = f"{source} cannot be converted"
            raise ModelLoadError(what)
        shutil.copyfile(self._written, target)
        return ""


def apr_of(directory: Path) -> ModelFiles:
    path = directory / "model.apr"
    path.write_bytes(b"not read here")
    return ModelFiles(
        format=ModelFormat.APR, weights=(path,), directory=directory, source="local_path"
    )


def test_apr_files_are_compared_with_the_ground_truth(model: Path, scratch: Path) -> None:
    source, truth = apr_of(model), safetensors_of(model)

    def compare(written: Path | None, truth: ModelFiles | None = truth) -> WeightComparison:
        return compare_weights(
            source, truth, scratch=scratch, converter=lambda: (Apr(written), "apr/1")
        )

    same = compare(truth.weights[0])
    assert (same.exact, same.worst_error) == (True, 0.0)
    assert same.tensors > 10
    other = write_tiny_llama(model.parent / "other", seed=2)
    assert compare(other / "model.safetensors").worst_error > 0.1
    # One that leaves the output projection out of a model that ties it has lost nothing.
    untied = safetensors_of(write_tiny_llama(model.parent / "untied", tied=False))
    lost = compare(truth.weights[0], untied)
    assert (lost.exact, lost.worst_tensor) == (False, "lm_head.weight")
    config = untied.directory / "config.json"
    config.write_text(config.read_text().replace('_embeddings": false', '_embeddings": true'))
    assert compare(truth.weights[0], untied).worst_tensor != "lm_head.weight"
    assert "cannot be converted" in compare(None).reason
    for nothing in (None, gguf_of(model / "x.gguf")):
        found = compare(truth.weights[0], nothing)
        assert (found.tensors, found.reason) == (
            0,
            "there are no SafeTensors that the APR file could be compared with",
        )
    with pytest.raises(EngineAbsentError, match="nothing here converts APR files"):
        compare_weights(source, truth, scratch=scratch)
