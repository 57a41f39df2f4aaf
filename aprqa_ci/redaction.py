"""Keeping secrets out of what is written down: evidence, journals, reports, logs, annotations.

Two kinds of text are taken out: the values of environment variables that are secrets by their name,
and whatever has the shape of a known kind of token, wherever it comes from. What is which stands in
``data/secrets.yaml``. In their place stands a marker that says what was there; it cannot be told
from the marker what the secret was, nor how long.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

import msgspec

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = ["Redaction", "is_secret", "is_withheld", "marker", "redaction_of", "without_torn_word"]

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9_]")
_CUT_MARK = "…"
_TORN = re.compile(r"\A\S{0,300}")

ValueT = TypeVar("ValueT")


class _Secrets(WireModel, frozen=True, kw_only=True):
    """The data file."""

    schema: Literal["aprqa-secrets/1"]
    secret_names: tuple[str, ...]
    place_names: tuple[str, ...]
    withheld_names: tuple[str, ...]
    shortest_value: int
    shortest_mixed: int
    shortest_part: int
    shapes: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Redaction:
    """Takes secrets out of texts."""

    values: Mapping[str, str]
    """What is called what: the name of a variable by the text that is secret."""

    def __call__(self, text: str) -> str:
        """Return the text with a marker in the place of each secret.

        A value that was cut off at an end of the text, or where the text says that it was cut, is
        taken out as well, if enough of it is left to know it.
        """
        for value, name in self.values.items():
            text = _without_value(text, value, marker(name))
        return _shapes().sub(_marked, text)

    def __or__(self, other: "Redaction") -> "Redaction":
        """Return what takes out what either does."""
        return _redaction({**other.values, **self.values})

    def of(self, value: ValueT) -> ValueT:
        """Return a value of wire models, tuples, lists and mappings with all texts redacted.

        Keys of mappings stay: they are names of ours.
        """
        found: Any = value
        if isinstance(found, str):
            return self(found) if type(found) is str else found  # type: ignore[return-value] # a str
        if isinstance(found, msgspec.Struct):
            changed = {
                name: new
                for name in found.__struct_fields__
                if (new := self.of(old := getattr(found, name))) is not old
            }
            return msgspec.structs.replace(found, **changed) if changed else found  # type: ignore[return-value] # of its own type
        if isinstance(found, dict):
            return {key: self.of(each) for key, each in found.items()}  # type: ignore[return-value] # a dict
        if isinstance(found, tuple | list):
            return type(found)(self.of(each) for each in found)  # type: ignore[return-value] # of its own type
        return value


def redaction_of(environment: Mapping[str, str], also: Iterable[str] = ()) -> Redaction:
    """Return what takes the secrets of an environment out of texts. Pure.

    Short values, and words without a digit, are too likely to be ordinary text and stay in it.

    Args:
        environment: all variables.
        also: names of variables that hold secrets whatever they are called.
    """
    names = set(also)
    values: dict[str, str] = {}
    for name, text in environment.items():
        if name in names or (is_secret(name) and not _matches(_file().place_names, name)):
            values.update((part, name) for part in _parts(text))
    return _redaction(values)


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds a secret."""
    return _matches(_file().secret_names, name)


def is_withheld(name: str) -> bool:
    """Whether a variable of that name is not for engines: a secret, or a way into later steps."""
    return is_secret(name) or _matches(_file().withheld_names, name)


def marker(kind: str) -> str:
    """Return what stands in the place of a secret: a kind of token, or the name of a variable."""
    return f"[redacted: {_UNNAMEABLE.sub('-', kind)[:60]}]"


def without_torn_word(text: str) -> str:
    """Return the end of a longer text without the word that it begins in the middle of.

    What is left of a secret would not be known for one.
    """
    return _TORN.sub(_CUT_MARK, text, count=1)


def _redaction(values: Mapping[str, str]) -> Redaction:
    # A secret that holds another is looked for first.
    return Redaction(values=dict(sorted(values.items(), key=lambda item: -len(item[0]))))


def _parts(text: str) -> Iterator[str]:
    """Return the lines of a value that are long enough to be known again."""
    file = _file()
    for line in text.splitlines():
        part = line.strip()
        mixed = re.search(r"\d", part) and re.search(r"[A-Za-z]", part)
        if len(part) >= (file.shortest_mixed if mixed else file.shortest_value):
            yield part


def _without_value(text: str, value: str, mark: str) -> str:
    text = text.replace(value, mark)
    least = _file().shortest_part
    if value[:least] in text:
        pieces = text.split(_CUT_MARK)
        pieces = [_without_end(piece, value, mark, least) for piece in pieces]
        text = _CUT_MARK.join(pieces)
    if value[-least:] in text[: len(value)]:
        for length in range(len(value) - 1, least - 1, -1):
            if text.startswith(value[-length:]):
                return mark + text[length:]
    return text


def _without_end(text: str, value: str, mark: str, least: int) -> str:
    at = text.find(value[:least], max(0, len(text) - len(value)))
    while at >= 0:
        if value.startswith(text[at:]):
            return text[:at] + mark
        at = text.find(value[:least], at + 1)
    return text


def _marked(found: re.Match[str]) -> str:
    kind = (found.lastgroup or "").replace("_", "-")
    groups = found.groupdict().items()
    kept = next((text for name, text in groups if name.startswith("keep_") and text), "")
    return kept + marker(kind)


@cache
def _shapes() -> re.Pattern[str]:
    """Return all shapes as one pattern; each kind is a group."""
    kinds = []
    for kind, pattern in _file().shapes.items():
        name = kind.replace("-", "_")
        kinds.append(f"(?P<{name}>{pattern.replace('(?P<keep>', f'(?P<keep_{name}>')})")
    return re.compile("|".join(kinds))


def _matches(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name.upper()) for pattern in patterns)


@cache
def _file() -> _Secrets:
    return load_data("secrets.yaml", _Secrets)
