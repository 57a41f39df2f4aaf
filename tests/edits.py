"""What may be done to one record of an evidence file by whoever wants another verdict."""

import copy
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

__all__ = ["edited_evidence", "scalar_places", "with_other_value"]

Records = list[dict[str, Any]]


def scalar_places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every scalar in a JSON value."""
    if isinstance(value, dict):
        return [each for key in value for each in scalar_places(value[key], (*path, key))]
    if isinstance(value, list):
        return [each for n, inner in enumerate(value) for each in scalar_places(inner, (*path, n))]
    return [path]


def with_other_value(record: dict[str, Any], place: tuple[Any, ...]) -> dict[str, Any]:
    """Return a copy in which one scalar is another one of its kind."""
    changed = copy.deepcopy(record)
    inner: Any = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = _other(inner[place[-1]], str(place[-1]))
    return changed


@st.composite
def edited_evidence(draw: st.DrawFn, records: Records) -> tuple[str, Records]:
    """Draw a way to change one record, and return its name with what comes of it."""
    kind = draw(st.sampled_from(["edited", "dropped", "duplicated", "reordered", "re-timed"]))
    at = draw(st.integers(0, len(records) - 1))
    other = draw(st.integers(0, len(records) - 2))
    made = list(records)
    match kind:
        case "edited":
            place = draw(st.sampled_from(scalar_places(made[at])))
            made[at] = with_other_value(made[at], place)
            kind = f"edited {'.'.join(map(str, place))}"
        case "dropped":
            del made[at]
        case "duplicated":
            made.insert(draw(st.integers(0, len(made))), made[at])
        case "reordered":
            moved = made.pop(at)
            made.insert(other if other < at else other + 1, moved)
        case _:
            shift = draw(st.integers(-(10**6), 10**6).filter(bool))
            made[at] = made[at] | {"timestamp": _shifted(made[at]["timestamp"], shift)}
    return kind, made


def _shifted(timestamp: str, milliseconds: int) -> str:
    moment = datetime.fromisoformat(timestamp) + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _other(value: Any, key: str) -> Any:
    match value:
        case "Corroborated":
            return "Falsified"
        case str() if key == "outcome":
            return "Corroborated"
        case str() if key == "timestamp":
            return _shifted(value, 1)
        case str() if key in {"modality", "backend", "format"}:
            others = {"modality": ["run", "chat"], "backend": ["cpu", "gpu"]}
            return next(each for each in others.get(key, ["gguf", "apr"]) if each != value)
        case bool():
            return not value
        case int() | float():
            return value + 1
        case None:
            return "x" if key in {"stderr", "gpu", "variant"} else 7
        case _:
            return f"{value}x"
