import warnings

import numpy as np
import numpy.typing as npt
import pytest

from aprqa_ci.execution.formats.gguf_writing import BLOCK_TYPES, quantized_and_back
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.quantization_error import (
    NO_EXCESS,
    TensorExcess,
    excess_error,
    excess_of,
)

Array = npt.NDArray[np.float32]
LIMITS = load_limits()


@pytest.fixture(scope="module")
def source() -> Array:
    """Weights with the heavy tails of trained ones."""
    return np.random.default_rng(5).standard_t(6, (256, 512)).astype(np.float32) * 0.02


def quantized(values: Array, type_name: str) -> Array:
    found = quantized_and_back(values, type_name)
    assert found is not None
    return found


@pytest.mark.parametrize("type_name", sorted(BLOCK_TYPES))
def test_a_new_quantization_has_no_excess(source: Array, type_name: str) -> None:
    assert excess_error(quantized(source, type_name), source, type_name) == pytest.approx(1.0)


@pytest.mark.parametrize("through", ["Q4_1", "Q5_1"])
def test_four_bits_of_few_bits_are_beyond_the_limit(source: Array, through: str) -> None:
    ratio = excess_error(quantized(quantized(source, through), "Q4_0"), source, "Q4_0")
    assert ratio is not None
    assert LIMITS.excess_typical < ratio < 1.5


def test_four_bits_of_eight_bits_are_not(source: Array) -> None:
    ratio = excess_error(quantized(quantized(source, "Q8_0"), "Q4_0"), source, "Q4_0")
    assert ratio is not None
    assert ratio < LIMITS.excess_typical


@pytest.mark.parametrize("factor", [1.1, 0.9])
def test_a_wrong_scale_is_beyond_the_limit(source: Array, factor: float) -> None:
    scaled = quantized(source, "Q4_0") * np.float32(factor)
    ratio = excess_error(scaled, source, "Q4_0")
    assert ratio is not None
    assert ratio > LIMITS.excess_worst


def test_an_importance_matrix_stays_within(source: Array) -> None:
    """Blocks scaled to the least error by weights that differ by column over two decades."""
    random = np.random.default_rng(1)
    weights = np.exp(random.normal(0, 1, source.shape[1])).astype(np.float32)
    blocks = source.reshape(-1, 32)
    importance = np.broadcast_to(weights, source.shape).reshape(-1, 32)
    places = np.abs(blocks).argmax(axis=1)
    peaks = blocks[np.arange(len(blocks)), places]
    best, kept = np.full(len(blocks), np.inf), np.zeros_like(blocks)
    for step in range(-9, 10):
        scale = (peaks / -(8 + 0.1 * step))[:, None]
        found = np.clip(np.rint(blocks / scale), -8, 7) * scale
        errors = (importance * (found - blocks) ** 2).sum(axis=1)
        kept = np.where((errors < best)[:, None], found, kept)
        best = np.minimum(errors, best)
    ratio = excess_error(kept.reshape(source.shape), source, "Q4_0")
    assert ratio is not None
    assert 0.9 < ratio < LIMITS.excess_typical


def test_a_large_tensor_is_looked_at_in_rows_from_all_over_it() -> None:
    source = np.random.default_rng(2).normal(0, 1, (4096, 1024)).astype(np.float32)
    ours = quantized(source, "Q4_0")
    assert excess_error(ours, source, "Q4_0") == pytest.approx(1.0)
    ours[2048:] *= 2
    ratio = excess_error(ours, source, "Q4_0")
    assert ratio is not None
    assert ratio > 2


def test_what_cannot_be_held_against_anything_is_left_out(source: Array) -> None:
    ours = quantized(source, "Q4_0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert excess_error(ours, source, "Q4_K") is None
        assert excess_error(ours, source, "F16") is None
        assert excess_error(ours[:, :100], source[:, :100], "Q4_0") is None
        assert excess_error(ours[0], source[0], "Q4_0") is None
        assert excess_error(ours[1:], source, "Q4_0") is None
        # The source is itself what the type holds.
        assert excess_error(ours, ours.copy(), "Q4_0") is None
        broken = ours.copy()
        broken[0, 0] = np.nan
        assert excess_error(broken, source, "Q4_0") is None
        assert excess_error(ours * 0, ours * 0, "Q4_0") is None


def test_several_tensors_come_to_the_worst_and_the_median() -> None:
    found = excess_of([TensorExcess(tensor=name, ratio=float(name)) for name in "132"])
    assert (found.tensors, found.typical) == (3, 2.0)
    assert found.worst == TensorExcess(tensor="3", ratio=3.0)
    assert excess_of([]) == NO_EXCESS
