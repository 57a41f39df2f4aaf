"""Strict JSON: what RFC 8259 allows and no more."""

import json
from typing import Any, NoReturn

__all__ = ["parse_json"]


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON text.

    Raises:
        ValueError: not JSON, or NaN and infinities, a key twice, or nesting too deep to be meant.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError as error:
        what = "it is nested too deeply"
        raise ValueError(what) from error


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
