from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.formats.ggml_types import DEQUANTIZED_TYPES, GGML_TYPES, dequantize
from aprqa_ci.execution.formats.safetensors import SAFETENSORS_BITS
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError
from aprqa_ci.execution.integrity import finite
from aprqa_ci.execution.integrity.finite import count_non_finite, is_zero


def tensor(path: Path, data: bytes, dtype: str, offset: int = 0) -> TensorInfo:
    path.write_bytes(bytes(offset) + data)
    return TensorInfo(
        name="t", dtype=dtype, shape=(len(data),), file=path, offset=offset, nbytes=len(data)
    )


def floats(dtype: str, *values: float) -> bytes:
    return np.array(values).astype(dtype).tobytes()


ONE_NAN = (1.0, np.nan, -3.5)


@pytest.mark.parametrize(
    ("dtype", "data", "count"),
    [
        ("F16", floats("<f2", *ONE_NAN), 1),
        ("F32", floats("<f4", *ONE_NAN, np.inf, -np.inf), 3),
        ("F64", floats("<f8", *ONE_NAN), 1),
        ("F32", floats("<f4", 3e38, -1e-45, 0.0), 0),
        ("F16", floats("<f2", 65504.0, -6e-8), 0),
        ("C64", floats("<f4", 1.0, np.inf, 2.0, 3.0), 1),
        ("BF16", bytes.fromhex("803f 807f 80ff c07f"), 3),
        ("F8_E4M3", bytes([0x7E, 0x7F, 0xFF, 0x00]), 2),
        ("F8_E5M2", bytes([0x7B, 0x7C, 0xFE, 0x00]), 2),
        ("F8_E8M0", bytes([0x7F, 0xFE, 0xFF]), 1),
        ("I8", b"\xff\x7f", 0),
        ("MXFP4", bytes([0x80]) + b"\xff" * 16 + bytes([0xFF]) + bytes(16), 1),
    ],
)
def test_numbers_that_are_not_finite_are_counted(
    tmp_path: Path, dtype: str, data: bytes, count: int
) -> None:
    assert count_non_finite(tensor(tmp_path / "t", data, dtype, offset=24)) == count


_SCALED = sorted(
    kind.name
    for kind in GGML_TYPES.values()
    if kind.name in DEQUANTIZED_TYPES and kind.name != "F64"
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(_SCALED), seed=st.integers(0, 2**32), ones=st.booleans())
def test_it_agrees_with_the_values_themselves(
    tmp_path: Path, name: str, seed: int, ones: bool
) -> None:
    kind = next(entry for entry in GGML_TYPES.values() if entry.name == name)
    random = np.random.default_rng(seed)
    raw = random.integers(0, 256, kind.block_bytes * 6, dtype=np.uint8)
    # Random scales are often NaN in one of six blocks; clearing high bits makes them seldom so.
    if not ones:
        raw &= 0x3B
    values = dequantize(raw.copy(), name)
    blocks = values.reshape(-1, kind.block_elements)
    bad = int((~np.isfinite(blocks)).any(axis=1).sum())
    count = count_non_finite(tensor(tmp_path / "t", raw.tobytes(), name))
    assert (count > 0) == (bad > 0)
    assert bad <= count <= 2 * bad


# Where each type keeps its scales, written down again from ggml-common.h: (size, offsets).
_LAYOUT = {
    "Q4_0": (18, (0,)),
    "Q4_1": (20, (0, 2)),
    "Q5_0": (22, (0,)),
    "Q5_1": (24, (0, 2)),
    "Q8_0": (34, (0,)),
    "Q8_1": (36, (0, 2)),
    "Q2_K": (84, (80, 82)),
    "Q3_K": (110, (108,)),
    "Q4_K": (144, (0, 2)),
    "Q5_K": (176, (0, 2)),
    "Q6_K": (210, (208,)),
    "IQ2_XXS": (66, (0,)),
    "IQ2_XS": (74, (0,)),
    "IQ2_S": (82, (0,)),
    "IQ3_XXS": (98, (0,)),
    "IQ3_S": (110, (0,)),
    "IQ1_S": (50, (0,)),
    "IQ4_NL": (18, (0,)),
    "IQ4_XS": (136, (0,)),
    "TQ1_0": (54, (52,)),
    "TQ2_0": (66, (64,)),
}


@pytest.mark.parametrize("name", sorted(_LAYOUT))
def test_only_the_scales_of_a_block_count(tmp_path: Path, name: str) -> None:
    size, offsets = _LAYOUT[name]
    for spoiled in range(0, size, 2):
        block = bytearray(size)
        block[spoiled : spoiled + 2] = b"\xff\xff"
        count = count_non_finite(tensor(tmp_path / "t", bytes(size) + block, name))
        assert count == (1 if spoiled in offsets else 0), (name, spoiled)


def test_the_scale_of_q8_k_is_a_float32(tmp_path: Path) -> None:
    block = floats("<f4", np.inf) + bytes(288)
    assert count_non_finite(tensor(tmp_path / "t", block, "Q8_K")) == 1
    assert count_non_finite(tensor(tmp_path / "t", bytes(4) + b"\xff" * 288, "Q8_K")) == 0


def test_a_large_tensor_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite, "_CHUNK_BYTES", 100)
    values = np.ones(1000, "<f4")
    values[[0, 24, 25, 999]] = np.nan
    assert count_non_finite(tensor(tmp_path / "t", values.tobytes(), "F32")) == 4
    blocks = np.zeros((40, 34), np.uint8)
    blocks[[1, 2, 39], 1] = 0x7C
    assert count_non_finite(tensor(tmp_path / "t", blocks.tobytes(), "Q8_0")) == 3


def test_a_file_that_shrinks_is_damaged(tmp_path: Path) -> None:
    entry = tensor(tmp_path / "t", bytes(64), "F32")
    (tmp_path / "t").write_bytes(bytes(60))
    with pytest.raises(FormatError, match="ends within tensor 't'"):
        count_non_finite(entry)


@pytest.mark.parametrize("dtype", ["IQ1_M", "NVFP4", "F8_E4M3FNUZ", "unheard-of"])
def test_a_type_whose_scales_are_not_known_is_not_judged(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=dtype):
        count_non_finite(tensor(tmp_path / "t", bytes(56), dtype))


def test_every_type_of_safetensors_is_read_but_two() -> None:
    known = {*finite._PLAIN, *finite._ALWAYS_FINITE}
    assert set(SAFETENSORS_BITS) - known == {"F8_E4M3FNUZ", "F8_E5M2FNUZ"}


@pytest.mark.parametrize(
    ("dtype", "data", "zero"),
    [
        ("F16", floats("<f2", 0.0, -0.0, 0.0), True),
        ("F16", floats("<f2", 0.0, -0.0, 6e-8), False),
        ("F32", floats("<f4", 0.0, np.nan), False),
        ("BF16", bytes.fromhex("0080 0000"), True),
        ("Q8_0", bytes(2) + b"\x7f" * 32, True),
        ("Q8_0", bytes(34) + b"\x01" + bytes(33), False),
        ("Q4_1", bytes(2) + b"\x00\x3c" + bytes(16), False),
        ("I8", bytes(8), False),
    ],
)
def test_tensors_of_nothing_but_zeros_are_known(
    tmp_path: Path, dtype: str, data: bytes, zero: bool
) -> None:
    assert is_zero(tensor(tmp_path / "t", data, dtype, offset=24)) is zero


def test_a_number_behind_the_first_piece_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finite, "_CHUNK_BYTES", 64)
    values = np.zeros(100, "<f4")
    assert is_zero(tensor(tmp_path / "t", values.tobytes(), "F32"))
    values[90] = 1
    assert not is_zero(tensor(tmp_path / "t", values.tobytes(), "F32"))


def test_nothing_is_said_of_an_empty_tensor_or_an_unknown_type(tmp_path: Path) -> None:
    assert not is_zero(tensor(tmp_path / "t", b"", "F32"))
    with pytest.raises(UnsupportedFormatError):
        is_zero(tensor(tmp_path / "t", bytes(56), "IQ1_M"))
