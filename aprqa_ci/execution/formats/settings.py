"""Reading settings out of untrusted mappings, with every problem said in one go."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aprqa_ci.execution.formats.weights import FormatError

__all__ = ["MAX_DIMENSION", "Settings", "brief"]

MAX_DIMENSION = 1 << 24
"""The largest width, count or vocabulary that a sane model has."""


class Settings:
    """Reads settings one by one and remembers everything that is missing or wrong.

    A setting that is wrong reads as 1, so that reading can go on; :meth:`check` raises.

    Args:
        values: the decoded mapping.
        source: the file named in messages.
        prefix: what stands before every key.
    """

    def __init__(self, values: Mapping[str, Any], source: Path | str, prefix: str = "") -> None:
        self._values = values
        self._source = source
        self._prefix = prefix
        self._problems: list[str] = []

    def integer(self, key: str, *, default: int | None = None, most: int = MAX_DIMENSION) -> int:
        """Read a positive integer. GGUF may spell one number as a list, one entry a layer."""
        value = self._get(key, default)
        if isinstance(value, list) and value and all(entry == value[0] for entry in value):
            value = value[0]
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most:
            return value
        return self._wrong(key, value, f"a whole number from 1 to {most}")

    def number(self, key: str, *, default: float | None = None) -> float:
        """Read a positive, finite number."""
        value = self._get(key, default)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            # JSON has whole numbers that no float can hold.
            and 0 < value <= sys.float_info.max
        ):
            return float(value)
        return self._wrong(key, value, "a positive number")

    def boolean(self, key: str, *, default: bool) -> bool:
        """Read a truth value."""
        value = self._get(key, default)
        return value if isinstance(value, bool) else bool(self._wrong(key, value, "true or false"))

    def refuse(self, problem: str) -> None:
        """Remember a problem that was found elsewhere."""
        self._problems.append(problem)

    def check(self) -> None:
        """Raise :class:`FormatError` with everything that was found wrong."""
        if self._problems:
            raise FormatError(self._source, "; ".join(self._problems))

    def _get(self, key: str, default: object) -> object:
        value = self._values.get(self._prefix + key)
        return default if value is None else value

    def _wrong(self, key: str, value: object, wanted: str) -> int:
        name = self._prefix + key
        self._problems.append(
            f"{name} is missing" if value is None else f"{name} is {brief(value)}, not {wanted}"
        )
        return 1


def brief(value: object) -> str:
    """Quote a value of unknown size in a message."""
    text = repr(value[:60] if isinstance(value, str | list) else value)
    return text if len(text) <= 60 else text[:57] + "..."
