"""Rotary position embedding: its frequencies, and how files say that they are scaled."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.formats.settings import Settings, brief
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError

__all__ = ["ROPE_FACTORS", "RopeScaling", "gguf_rope_scaling", "hf_rope", "rope_frequencies"]

ROPE_FACTORS = "rope_freqs.weight"
"""The GGUF tensor of divisors, one for each rotary frequency."""


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """How the rotary frequencies of a longer context are made from the trained ones."""

    kind: Literal["linear", "llama3", "factors"]
    """``linear`` divides all by ``factor``; ``llama3`` divides low frequencies, by wavelength;
    ``factors`` divides each by an element of the GGUF tensor :data:`ROPE_FACTORS`."""
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192

    def divisors(self, frequencies: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return what each rotary frequency (radians per position) is divided by.

        For ``factors`` that is one: the divisors are in a tensor of the file.

        The ``llama3`` rule is that of Llama 3.1: wavelengths above ``original_context /
        low_freq_factor`` are stretched by ``factor``, those below ``original_context /
        high_freq_factor`` stay, and between them the two are blended linearly.
        """
        if self.kind == "factors":
            return np.ones_like(frequencies)
        if self.kind == "linear":
            return np.full_like(frequencies, self.factor)
        turns = self.original_context * frequencies / (2 * math.pi)
        blend = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        blend = np.clip(blend, 0.0, 1.0)
        divisors: npt.NDArray[np.float64] = 1.0 / ((1.0 - blend) / self.factor + blend)
        return divisors


def rope_frequencies(head_dim: int, theta: float) -> npt.NDArray[np.float64]:
    """Return the unscaled frequencies, ``theta ** (-2 i / head_dim)``, shape (head_dim / 2,)."""
    frequencies: npt.NDArray[np.float64] = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    return frequencies


def hf_rope(
    config: Mapping[str, Any], source: Path | str, context: int
) -> tuple[float, RopeScaling | None]:
    """Read theta and scaling from a ``config.json``, in the older spelling or the newer one.

    Older files have ``rope_theta`` and ``rope_scaling``, newer ones ``rope_parameters``.

    Raises:
        FormatError: a number is missing or impossible.
        UnsupportedFormatError: the kind of scaling is not known here.
    """
    values: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        if isinstance(config.get(key), dict):
            values.update(config[key])
    values["rope_theta"] = config.get("rope_theta", values.get("rope_theta"))
    settings = Settings(values, source, prefix="")
    theta = settings.number("rope_theta", default=10000.0)
    kind = values.get("rope_type", values.get("type", "default"))
    scaling: RopeScaling | None = None
    if kind == "linear":
        scaling = RopeScaling(kind="linear", factor=settings.number("factor"))
    elif kind == "llama3":
        scaling = RopeScaling(
            kind="llama3",
            factor=settings.number("factor"),
            low_freq_factor=settings.number("low_freq_factor"),
            high_freq_factor=settings.number("high_freq_factor"),
            original_context=settings.integer(
                "original_max_position_embeddings", default=context, most=1 << 30
            ),
        )
        if scaling.high_freq_factor <= scaling.low_freq_factor:
            settings.refuse("high_freq_factor is not above low_freq_factor")
    elif kind != "default":
        raise UnsupportedFormatError(source, f"the rope scaling {brief(kind)} is not known here")
    settings.check()
    return theta, scaling


def gguf_rope_scaling(
    metadata: Mapping[str, Any],
    tensors: Mapping[str, TensorInfo],
    source: Path | str,
    architecture: str,
) -> RopeScaling | None:
    """Read the scaling from GGUF metadata and tensors.

    Raises:
        FormatError: the factor is missing or impossible.
        UnsupportedFormatError: the kind of scaling is not known here.
    """
    prefix = f"{architecture}.rope."
    kind = metadata.get(prefix + "scaling.type", "linear")
    if kind not in ("none", "linear"):
        raise UnsupportedFormatError(source, f"the rope scaling {brief(kind)} is not known here")
    # llama.cpp divides by the factor whenever there is one; older files have the second key.
    factor = metadata.get(prefix + "scaling.factor", metadata.get(prefix + "scale_linear", 1.0))
    if not isinstance(factor, int | float) or not 0 < factor < math.inf:
        raise FormatError(source, f"{prefix}scaling.factor is {brief(factor)}, not positive")
    if ROPE_FACTORS in tensors:
        if factor != 1.0:
            raise UnsupportedFormatError(source, "rope scaling both linear and by factors")
        return RopeScaling(kind="factors")
    return None if factor == 1.0 else RopeScaling(kind="linear", factor=float(factor))
