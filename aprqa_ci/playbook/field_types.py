"""The types that fields of several sections share."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from msgspec import Meta

from aprqa_ci.quantizations import quantization_catalogue

__all__ = [
    "QUANTIZATION_FORMAT",
    "Count",
    "Distinct",
    "GateIds",
    "Milliseconds",
    "Name",
    "PromptText",
    "QuantizationName",
    "Ratio",
    "ShortText",
    "Word",
    "matching",
    "require_distinct",
    "require_known_quantizations",
]

Distinct: Final[dict[str, Any]] = {"uniqueItems": True}
"""Tells the schema of a list whose items must differ; see :func:`require_distinct`."""

QUANTIZATION_FORMAT: Final = "aprqa-quantization"
"""Marks, for the schema, text that must be in the quantization catalogue."""


def matching(expression: str, expected: str) -> Meta:
    """Return the limits of text that must match all of a regular expression.

    Args:
        expression: the expression; only what Python and ECMAScript read alike.
        expected: what it means, in words that fit after "expected".
    """
    # Python's `$` also matches before a line end, so it must not be followed by one.
    return Meta(pattern=rf"^{expression}$(?!\n)", extra_json_schema={"x-expected": expected})


Word = Annotated[
    str,
    matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "text of 1 to 64 of A-Z a-z 0-9 . _ -"),
]
"""A short name without blanks."""

QuantizationName = Annotated[str, Meta(extra_json_schema={"format": QUANTIZATION_FORMAT})]
"""A name of the quantization catalogue; see :func:`require_known_quantizations`."""

ShortText = Annotated[str, Meta(min_length=1, max_length=2048)]
"""Text of at most 2,048 characters."""

Name = Annotated[str, Meta(min_length=1, max_length=128)]
"""What an author calls something."""

PromptText = Annotated[str, Meta(min_length=1, max_length=32 << 10)]
"""A prompt of at most 32,768 characters."""

GateIds = Annotated[tuple[Name, ...], Meta(max_length=100)]
"""Gate ids of the existing tool; free text, for they are not ours."""

Count = Annotated[int, Meta(ge=0, le=1_000_000)]
"""How many."""

Ratio = Annotated[float, Meta(ge=0.0, le=1.0)]
"""A share, 0 to 1."""

Milliseconds = Annotated[float, Meta(gt=0.0, le=3_600_000.0)]
"""A time in milliseconds."""


def require_distinct(name: str, items: Sequence[object] | None) -> None:
    """Check a list whose items must differ.

    Raises:
        ValueError: one is given twice.
    """
    if items is not None and len(set(items)) < len(items):
        msg = f"`{name}` lists something more than once"
        raise ValueError(msg)


def require_known_quantizations(names: Sequence[str]) -> None:
    """Check names of quantizations; the schema has the list of them.

    Raises:
        ValueError: one is not in the catalogue.
    """
    unknown = [name for name in names if name not in quantization_catalogue()]
    if unknown:
        msg = f"unknown quantizations: {', '.join(unknown)}"
        raise ValueError(msg)
