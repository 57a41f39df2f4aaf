"""The quantization catalogue: names, sizes, and how much agreement each can be held to."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = ["AgreementClass", "Quantization", "quantization_catalogue"]

AgreementClass = Literal["exact", "high", "medium", "low", "poor"]
"""How closely answers can be expected to agree with the unquantized weights; see the head of
``quantizations.yaml``."""


class Quantization(WireModel, frozen=True, kw_only=True):
    """One entry of the catalogue."""

    name: str
    """The name of llama.cpp's quantize tool, in lower case: ``q4_k_m``."""
    bits_per_weight: float
    """Bits per weight over a whole file, scales and mixtures included."""
    agreement: AgreementClass


class _QuantizationFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-quantizations/1"]
    quantizations: tuple[Quantization, ...]


@cache
def quantization_catalogue() -> dict[str, Quantization]:
    """Return all quantizations by name, most bits first.

    Raises:
        AprqaError: the installation is damaged.
    """
    entries = load_data("quantizations.yaml", _QuantizationFile).quantizations
    return {entry.name: entry for entry in entries}
