"""JSON that strangers wrote, read so that all of its text can be written again."""

import json
import re
from collections.abc import Callable
from typing import Any

__all__ = ["parse_json"]

_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_Pairs = list[tuple[str, Any]]


def parse_json(
    data: str | bytes,
    *,
    object_of: Callable[[_Pairs], dict[str, Any]] | None = None,
    constant_of: Callable[[str], Any] | None = None,
) -> Any:  # noqa: ANN401 - any JSON value
    """Parse JSON text.

    Half of a surrogate pair is grammar (RFC 8259, section 8.2) and no text: nothing that holds one
    can be encoded, so that it would break whatever writes it down much later.

    Args:
        data: text, or the bytes of one in UTF-8.
        object_of: makes an object of its keys and values, in their order.
        constant_of: makes a value of NaN, Infinity and -Infinity, which are not JSON.

    Raises:
        ValueError: not JSON, nested too deeply, or with half of a surrogate pair in it.
    """
    text = data if isinstance(data, str) else data.decode("utf-8-sig")
    try:
        found = json.loads(text, object_pairs_hook=object_of, parse_constant=constant_of)
        if _HALF_PAIR.search(text):
            json.dumps(found, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        what = "it is nested too deeply"
        raise ValueError(what) from error
    except UnicodeEncodeError as error:
        what = f"it holds half of a surrogate pair ({error.object[error.start]!r})"
        raise ValueError(what) from error
    return found
