import numpy as np
import pytest

from aprqa_ci.execution.formats.ggml_types import (
    DEQUANTIZED_TYPES,
    GGML_TYPES,
    dequantize,
    file_type_name,
)

gguf = pytest.importorskip("gguf")


def test_the_table_is_that_of_the_gguf_library() -> None:
    theirs = {
        kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType
    }
    ours = {
        number: (kind.name, kind.block_elements, kind.block_bytes)
        for number, kind in GGML_TYPES.items()
    }
    # Never stored in files; the library says 40, block_q8_1 of ggml-common.h has 2 + 2 + 32 bytes.
    theirs.pop(9, None)
    assert ours.pop(9) == ("Q8_1", 32, 36)
    # Older libraries know fewer types.
    assert {number: ours[number] for number in theirs if number in ours} == {
        number: entry for number, entry in theirs.items() if number in ours
    }
    assert len(ours) >= 30


@pytest.mark.parametrize("name", sorted(DEQUANTIZED_TYPES))
def test_random_bytes_become_the_numbers_of_the_gguf_library(name: str) -> None:
    kind = next(entry for entry in GGML_TYPES.values() if entry.name == name)
    generator = np.random.default_rng(7)
    raw = generator.integers(0, 256, (50, kind.block_bytes), dtype=np.uint8)
    ours = dequantize(raw.reshape(-1), name)
    assert ours.shape == (50 * kind.block_elements,)
    assert ours.dtype == np.float32
    if name == "F64":
        with np.errstate(all="ignore"):
            theirs = raw.reshape(-1).view("<f8").astype(np.float32)
    else:
        with np.errstate(all="ignore"):
            theirs = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[name])
    np.testing.assert_array_equal(ours, theirs.reshape(-1))


def test_more_blocks_than_are_unpacked_at_once() -> None:
    generator = np.random.default_rng(8)
    raw = generator.integers(0, 256, ((1 << 15) + 3, 34), dtype=np.uint8)
    raw[:, 1] &= 0x3F  # finite scales
    together = dequantize(raw.reshape(-1), "Q8_0").reshape(-1, 32)
    np.testing.assert_array_equal(
        together[-4:].reshape(-1), dequantize(raw[-4:].reshape(-1), "Q8_0")
    )


def test_a_type_that_cannot_be_unpacked_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        dequantize(np.zeros(84, dtype=np.uint8), "Q2_K")


def test_file_types_are_named_as_the_gguf_library_numbers_them() -> None:
    prefix = "MOSTLY_"
    for kind in gguf.LlamaFileType:
        name = file_type_name(kind.value)
        assert name in {None, kind.name.removeprefix(prefix), kind.name.removeprefix("ALL_")}
    assert file_type_name(7) == "Q8_0"
    assert file_type_name("Q8_0") is None
    assert file_type_name(999) is None
