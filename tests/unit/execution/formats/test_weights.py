import os
from pathlib import Path

import numpy as np
import pytest

from aprqa_ci.execution.formats.weights import (
    FormatError,
    TensorInfo,
    bfloat16_as_float32,
    check_no_overlap,
    map_file,
)


def _tensor(name: str, offset: int, nbytes: int) -> TensorInfo:
    return TensorInfo(
        name=name, dtype="U8", shape=(nbytes,), file=Path("f"), offset=offset, nbytes=nbytes
    )


def test_elements_of_a_scalar_and_of_a_matrix() -> None:
    matrix = TensorInfo(name="m", dtype="F32", shape=(3, 4), file=Path("f"), offset=0, nbytes=48)
    scalar = TensorInfo(name="s", dtype="F32", shape=(), file=Path("f"), offset=0, nbytes=4)
    assert (matrix.elements, scalar.elements) == (12, 1)


def test_a_mapped_file_has_the_bytes_and_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    data = map_file(path)
    assert data.tobytes() == b"abc"
    assert not data.flags.writeable


def test_unreadable_files_are_format_errors_that_name_the_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, what in (
        (empty, "empty"),
        (fifo, "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "none", "cannot be read"),
    ):
        with pytest.raises(FormatError, match=what) as caught:
            map_file(path)
        assert str(path) in str(caught.value)


def test_overlap_is_found_and_touching_or_empty_tensors_are_fine() -> None:
    check_no_overlap(Path("f"), [_tensor("b", 4, 4), _tensor("a", 0, 4), _tensor("e", 2, 0)])
    with pytest.raises(FormatError, match="'a' and 'b' overlap at byte 3"):
        check_no_overlap(Path("f"), [_tensor("b", 3, 4), _tensor("a", 0, 4)])
    with pytest.raises(FormatError, match="overlap"):
        check_no_overlap(Path("f"), [_tensor("a", 0, 8), _tensor("e", 2, 0), _tensor("b", 4, 1)])


def test_bfloat16_is_the_upper_half_of_a_float32() -> None:
    raw = np.array([0x3F80, 0xC000, 0x7F80, 0x0000], dtype="<u2").view(np.uint8)
    assert bfloat16_as_float32(raw).tolist() == [1.0, -2.0, float("inf"), 0.0]
