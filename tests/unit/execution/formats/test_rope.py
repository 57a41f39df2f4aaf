from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aprqa_ci.execution.formats.rope import (
    ROPE_FACTORS,
    RopeScaling,
    gguf_rope_scaling,
    hf_rope,
    rope_frequencies,
)
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
FACTORS = {
    ROPE_FACTORS: TensorInfo(
        name=ROPE_FACTORS, dtype="F32", shape=(2,), file=Path("f"), offset=0, nbytes=8
    )
}


def test_frequencies() -> None:
    np.testing.assert_allclose(rope_frequencies(4, 10000.0), [1.0, 0.01])


def test_divisors() -> None:
    frequencies = rope_frequencies(128, 500000.0)
    assert RopeScaling(kind="linear", factor=4.0).divisors(frequencies).tolist() == [4.0] * 64
    assert RopeScaling(kind="factors").divisors(frequencies).tolist() == [1.0] * 64
    divisors = RopeScaling(kind="llama3", factor=8.0).divisors(frequencies)
    # Wavelengths below 8192 / 4 stay, those above 8192 are stretched, those between are blended.
    wavelengths = 2 * np.pi / frequencies
    assert set(divisors[wavelengths < 2048]) == {1.0}
    assert set(divisors[wavelengths > 8192]) == {8.0}
    between = divisors[(wavelengths > 2048) & (wavelengths < 8192)]
    assert len(between) > 3
    assert (np.diff(between) > 0).all()
    # A wavelength in the middle, by the published formula.
    where = int(np.flatnonzero((wavelengths > 2048) & (wavelengths < 8192))[2])
    smooth = (8192 / wavelengths[where] - 1) / 3
    scaled = (1 - smooth) * frequencies[where] / 8 + smooth * frequencies[where]
    assert frequencies[where] / divisors[where] == pytest.approx(scaled, rel=1e-12)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (10000.0, None)),
        ({"rope_theta": 5e5, "rope_scaling": None}, (5e5, None)),
        ({"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}, (7.0, None)),
        (
            {"rope_scaling": {"type": "linear", "factor": 2}},
            (10000.0, RopeScaling(kind="linear", factor=2.0)),
        ),
        ({"rope_scaling": LLAMA3}, (10000.0, RopeScaling(kind="llama3", factor=8.0))),
    ],
)
def test_hugging_face_spellings(
    config: dict[str, Any], expected: tuple[float, RopeScaling | None]
) -> None:
    assert hf_rope(config, "config.json", 4096) == expected


@pytest.mark.parametrize(
    ("scaling", "what"),
    [
        ({"rope_type": "linear"}, "factor is missing"),
        ({"rope_type": "linear", "factor": 0}, "factor is 0"),
        ({**LLAMA3, "low_freq_factor": None}, "low_freq_factor is missing"),
        ({**LLAMA3, "high_freq_factor": 1.0}, "not above"),
    ],
)
def test_wrong_scaling_is_damage(scaling: dict[str, Any], what: str) -> None:
    with pytest.raises(FormatError, match=what) as caught:
        hf_rope({"rope_scaling": scaling}, "config.json", 4096)
    assert not isinstance(caught.value, UnsupportedFormatError)


@pytest.mark.parametrize("kind", ["yarn", "dynamic", "longrope", 7])
def test_unknown_scaling_is_refused_by_name(kind: object) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"rope scaling .*{kind}"):
        hf_rope({"rope_scaling": {"rope_type": kind, "factor": 2.0}}, "config.json", 4096)


@pytest.mark.parametrize(
    ("metadata", "tensors", "expected"),
    [
        ({}, {}, None),
        ({"llama.rope.scaling.type": "none"}, {}, None),
        ({"llama.rope.scaling.factor": 2.0}, {}, RopeScaling(kind="linear", factor=2.0)),
        ({"llama.rope.scale_linear": 4.0}, {}, RopeScaling(kind="linear", factor=4.0)),
        ({}, FACTORS, RopeScaling(kind="factors")),
    ],
)
def test_gguf_spellings(
    metadata: dict[str, Any], tensors: dict[str, TensorInfo], expected: RopeScaling | None
) -> None:
    assert gguf_rope_scaling(metadata, tensors, "f", "llama") == expected


def test_gguf_scaling_that_is_refused() -> None:
    with pytest.raises(UnsupportedFormatError, match="'yarn'"):
        gguf_rope_scaling({"llama.rope.scaling.type": "yarn"}, {}, "f", "llama")
    with pytest.raises(UnsupportedFormatError, match="both linear and by factors"):
        gguf_rope_scaling({"llama.rope.scaling.factor": 2.0}, FACTORS, "f", "llama")
    for factor in (0.0, -1, "2", float("inf")):
        with pytest.raises(FormatError, match="factor is"):
            gguf_rope_scaling({"llama.rope.scaling.factor": factor}, {}, "f", "llama")
