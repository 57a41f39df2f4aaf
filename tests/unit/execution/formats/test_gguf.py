import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def array(kind: int, count: int, values: bytes) -> bytes:
    return struct.pack("<IQ", kind, count) + values


def tensor(name: str, dimensions: tuple[int, ...], kind: int, offset: int) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text(name) + shape + struct.pack("<IQ", kind, offset)


METADATA = [
    entry("general.architecture", 8, text("llama")),
    entry("count", 4, struct.pack("<I", 7)),
    entry("below", 5, struct.pack("<i", -7)),
    entry("half", 6, struct.pack("<f", 0.5)),
    entry("yes", 7, b"\x01"),
    entry("numbers", 9, array(5, 3, struct.pack("<3i", 1, -2, 3))),
    entry("words", 9, array(8, 2, text("é") + text(""))),
    entry("nested", 9, array(9, 2, array(0, 1, b"\x05") + array(0, 0, b""))),
]
TENSORS = [tensor("a", (2, 3), 0, 0), tensor("q", (32, 1), 8, 32)]
Q8_0 = struct.pack("<e", 0.5) + bytes(range(32))
DATA = struct.pack("<6f", *range(6)) + bytes(8) + Q8_0


def gguf(
    metadata: list[bytes] = METADATA,
    tensors: list[bytes] = TENSORS,
    data: bytes = DATA,
    *,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(metadata) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + data


Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("version", [2, 3])
def test_metadata_and_tensors_are_read(write: Write, version: int) -> None:
    weights = open_gguf(write(gguf(version=version)))
    assert (weights.version, weights.alignment) == (version, 32)
    assert dict(weights.metadata) == {
        "general.architecture": "llama",
        "count": 7,
        "below": -7,
        "half": 0.5,
        "yes": True,
        "numbers": [1, -2, 3],
        "words": ["é", ""],
        "nested": [[5], []],
    }
    assert {
        name: (info.dtype, info.shape, info.nbytes) for name, info in weights.tensors.items()
    } == {
        "a": ("F32", (3, 2), 24),
        "q": ("Q8_0", (1, 32), 34),
    }
    assert weights.load("a").tolist() == [[0, 1], [2, 3], [4, 5]]
    assert weights.load("q").tolist() == [[0.5 * number for number in range(32)]]


def test_another_alignment_is_used(write: Write) -> None:
    metadata = [entry("general.alignment", 4, struct.pack("<I", 64))]
    tensors = [tensor("a", (6,), 0, 0), tensor("b", (1,), 0, 64)]
    data = DATA[:24] + bytes(40) + struct.pack("<f", 9)
    weights = open_gguf(write(gguf(metadata, tensors, data, alignment=64)))
    assert weights.alignment == 64
    assert weights.tensors["a"].offset % 64 == 0
    assert weights.load("b").tolist() == [9]


def test_closing(write: Write) -> None:
    weights = open_gguf(write(gguf()))
    array = weights.load("a")
    weights.close()
    weights.close()
    assert array.sum() == 15
    with pytest.raises(FormatError, match="closed"):
        weights.load("a")


def test_tensors_that_cannot_be_loaded(write: Write) -> None:
    weights = open_gguf(write(gguf(tensors=[tensor("k", (256,), 10, 0)], data=bytes(84))))
    assert weights.tensors["k"].dtype == "Q2_K"
    with pytest.raises(UnsupportedFormatError, match="'k' is stored as Q2_K"):
        weights.load("k")
    with pytest.raises(FormatError, match="no tensor 'none'"):
        weights.load("none")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (b"GGU", "truncated"),
        (b"GGML" + bytes(40), "not a GGUF file"),
        (gguf(version=9), "unknown GGUF version 9"),
        (gguf()[:12], "truncated"),
        (gguf()[:100], "truncated"),
        (gguf()[:-1], "outside"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "tensors are more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "metadata entries are more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 20, 0), "truncated"),
        (gguf([METADATA[0], METADATA[0]]), "stands twice"),
        (gguf([entry("k", 99, b"")]), "unknown type 99"),
        (gguf([entry(b"\xff", 7, b"\x01")]), "not UTF-8"),
        (gguf([entry("k", 8, text(b"\xff"))]), "not UTF-8"),
        (gguf([entry("k", 8, struct.pack("<Q", 1 << 62))]), "claims"),
        (gguf([entry("k", 8, struct.pack("<Q", 1 << 20))]), "truncated"),
        (gguf([entry("k", 9, array(0, 1 << 62, b""))]), "too many"),
        (gguf([entry("k", 9, array(0, 1 << 20, b""))]), "truncated"),
        (gguf([entry("k", 9, array(8, 1 << 20, b""))]), "more than the file can hold"),
        (gguf([entry("k", 9, array(9, 1, b"") * 9)]), "nests arrays"),
        (gguf([entry("general.alignment", 4, struct.pack("<I", 24))]), "power of two"),
        (gguf([entry("general.alignment", 4, struct.pack("<I", 0))]), "power of two"),
        (gguf([entry("general.alignment", 8, text("32"))]), "power of two"),
        (gguf([entry("general.alignment", 7, b"\x01")]), "power of two"),
        (gguf(tensors=[TENSORS[0], TENSORS[0]]), "stands twice"),
        (gguf(tensors=[tensor("a", (1, 1, 1, 1, 1), 0, 0)]), "5 dimensions"),
        (gguf(tensors=[tensor("a", (1 << 40, 1 << 40), 0, 0)]), "impossible shape"),
        (gguf(tensors=[tensor("a", (0,), 0, 0)]), "impossible shape"),
        (gguf(tensors=[tensor("a", (33,), 8, 0)]), "not whole blocks of 32"),
        (gguf(tensors=[tensor("a", (2,), 0, 4)]), "not aligned"),
        (gguf(tensors=[tensor("a", (2,), 0, 1 << 40)]), "outside"),
        (gguf(tensors=[tensor("a", (2,), 77, 0)]), "unknown type 77"),
        (gguf(tensors=[tensor("a", (6,), 0, 0), tensor("b", (2,), 0, 0)]), "overlap"),
    ],
)
def test_damage_is_named(write: Write, content: bytes, what: str) -> None:
    path = write(content)
    with pytest.raises(FormatError, match=what) as caught:
        open_gguf(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"GGUF" + struct.pack(">I", 3) + bytes(16), "big-endian"),
        (gguf(version=1), "version 1"),
        (gguf(tensors=[tensor("a", (2,), 77, 0)]), "unknown type 77"),
    ],
)
def test_what_is_not_known_is_told_from_damage(write: Write, content: bytes, what: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=what):
        open_gguf(write(content))


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_a_changed_file_opens_or_is_a_format_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(gguf())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "f.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        weights = open_gguf(path)
        for name in weights.tensors:
            assert weights.load(name).dtype == np.float32
    except FormatError as error:
        assert str(path) in str(error)  # noqa: PT017 - either way is right


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(max_size=300))
def test_random_bytes_after_a_good_start(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "f.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 3, 3) + tail)
    with pytest.raises(FormatError):
        open_gguf(path)
