"""Strict JSON: what RFC 8259 allows and no more."""

from typing import Any, NoReturn

from aprqa_ci import json_text

__all__ = ["parse_json"]


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON text.

    Raises:
        ValueError: not JSON, or NaN and infinities, a key twice, nesting too deep to be meant, or
            half of a surrogate pair.
    """
    return json_text.parse_json(text, object_of=_unique, constant_of=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            what = f"the key {key!r} stands there twice"
            raise ValueError(what)
        found[key] = value
    return found


def _refuse(constant: str) -> NoReturn:
    what = f"{constant} is not a JSON value"
    raise ValueError(what)
