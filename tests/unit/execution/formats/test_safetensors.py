import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.formats.safetensors import SAFETENSORS_BITS, open_safetensors
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from tests.tiny_llama import safetensors_bytes

F32 = struct.pack("<4f", 1, 2, 3, 4)
HEADER: dict[str, Any] = {
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "F16", "shape": [2], "data_offsets": [16, 20]},
}
DATA = F32 + struct.pack("<2e", 0.5, -1)


def _file(header: object, data: bytes = DATA) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _with(**changes: Any) -> dict[str, Any]:
    return {**HEADER, "a": {**HEADER["a"], **changes}}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "model.safetensors"
        path.write_bytes(content)
        return path

    return write


def test_tensors_are_described_and_loaded(write: Callable[[bytes], Path]) -> None:
    path = write(_file({"__metadata__": {"format": "pt"}, **HEADER}))
    weights = open_safetensors([path])
    assert weights.metadata == {"format": "pt"}
    assert list(weights.tensors) == ["a", "b"]
    described = weights.tensors["b"]
    assert (described.dtype, described.shape, described.nbytes) == ("F16", (2,), 4)
    assert path.read_bytes()[described.offset :] == DATA[16:]
    assert weights.load("a").tolist() == [[1, 2], [3, 4]]
    assert weights.load("b").tolist() == [0.5, -1]
    assert weights.load("b").dtype == np.float32


def test_loaded_arrays_outlive_the_file(write: Callable[[bytes], Path]) -> None:
    weights = open_safetensors([write(_file(HEADER))])
    array = weights.load("a")
    weights.close()
    weights.close()
    assert array.sum() == 10
    with pytest.raises(FormatError, match="closed"):
        weights.load("a")


@pytest.mark.parametrize(
    ("dtype", "raw", "value"),
    [
        ("F64", struct.pack("<d", 0.25), 0.25),
        ("BF16", struct.pack("<H", 0x3FC0), 1.5),
        ("F16", struct.pack("<e", -2), -2.0),
    ],
)
def test_every_float_loads_as_float32(
    write: Callable[[bytes], Path], dtype: str, raw: bytes, value: float
) -> None:
    weights = open_safetensors([write(safetensors_bytes({"x": (dtype, (1,), raw)}))])
    loaded = weights.load("x")
    assert loaded.dtype == np.float32
    assert loaded.tolist() == [value]


def test_a_float64_beyond_float32_is_infinite_without_a_warning(
    write: Callable[[bytes], Path],
) -> None:
    raw = struct.pack("<d", 1e300)
    weights = open_safetensors([write(safetensors_bytes({"x": ("F64", (1,), raw)}))])
    assert weights.load("x").tolist() == [float("inf")]


def test_other_types_are_named_and_not_loaded(write: Callable[[bytes], Path]) -> None:
    for dtype, bits in SAFETENSORS_BITS.items():
        raw = bytes(bits)  # eight elements
        weights = open_safetensors([write(safetensors_bytes({"x": (dtype, (8,), raw)}))])
        assert weights.tensors["x"].dtype == dtype
        if dtype not in {"F16", "BF16", "F32", "F64"}:
            with pytest.raises(UnsupportedFormatError, match=dtype):
                weights.load("x")


def test_unknown_names_are_errors(write: Callable[[bytes], Path]) -> None:
    with pytest.raises(FormatError, match="no tensor 'zzz'"):
        open_safetensors([write(_file(HEADER))]).load("zzz")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"1234567", "too few"),
        (_file(HEADER)[:40], "truncated"),
        (struct.pack("<Q", 1 << 40) + b"{}", "claims"),
        (_file(HEADER)[:-1], "truncated"),
        (_file(HEADER) + b"x", "1 bytes after the last tensor"),
        (_file(b"{"), "not JSON"),
        (_file(b"\xff\xfe"), "not JSON"),
        (_file(b"[" * 100_000), "not JSON"),
        (_file(b"[]"), "not a JSON object"),
        (_file(b'{"a":1,"a":2}'), "'a' twice"),
        (_file({"a": 5}), "does not describe"),
        (_file({"__metadata__": {"a": 1}}), "does not describe"),
        (_file(_with(shape=[2, -2])), "does not describe"),
        (_file(_with(shape=[1 << 70])), "does not describe"),
        (_file(_with(shape=[1] * 99)), "does not describe"),
        (_file(_with(data_offsets=[0])), "does not describe"),
        (_file(_with(surprise=1)), "does not describe"),
        (_file(_with(dtype=5)), "does not describe"),
        (_file(_with(dtype="F13")), "unknown storage type 'F13'"),
        (_file(_with(shape=[2, 3])), "does not fill"),
        (_file(_with(dtype="F16")), "does not fill"),
        (_file(_with(data_offsets=[16, 0])), "outside"),
        (_file(_with(data_offsets=[4, 20])), "hole before it"),
        (_file({**HEADER, "b": {**HEADER["b"], "data_offsets": [12, 16]}}), "overlaps"),
    ],
)
def test_damage_is_named(write: Callable[[bytes], Path], content: bytes, what: str) -> None:
    path = write(content)
    with pytest.raises(FormatError, match=what) as caught:
        open_safetensors([path])
    assert str(path) in str(caught.value)


def test_shards_are_one_model_and_must_not_repeat_a_tensor(tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    first.write_bytes(safetensors_bytes({"a": ("F32", (4,), F32)}))
    second.write_bytes(safetensors_bytes({"b": ("F32", (2, 2), F32)}))
    weights = open_safetensors([first, second])
    assert {name: info.file for name, info in weights.tensors.items()} == {"a": first, "b": second}
    assert weights.load("b").tolist() == [[1, 2], [3, 4]]
    second.write_bytes(safetensors_bytes({"a": ("F32", (4,), F32)}))
    with pytest.raises(FormatError, match=r"'a' is in the shard 1\.safetensors as well"):
        open_safetensors([first, second])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_changed_file_opens_or_is_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(_file(HEADER))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "f.safetensors"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        weights = open_safetensors([path])
        for name in weights.tensors:
            weights.load(name)
    except FormatError as error:
        assert str(path) in str(error)  # noqa: PT017 - either way is right
