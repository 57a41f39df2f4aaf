"""From the text of a condition to its tokens."""

import re
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["MAX_TOKENS", "ConditionError", "Token", "TokenKind", "tokens_of"]

MAX_TOKENS = 512
"""A condition of more tokens is refused."""

_LARGEST = 1e15
_SHOWN = 24


class ConditionError(ValueError):
    """A condition that cannot be read or means nothing; the message says why and where."""

    def __init__(self, what: str, *, column: int, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.column = column
        """Where in the condition, counted from 1."""
        self.hint = hint


class TokenKind(StrEnum):
    """What a token is."""

    NUMBER = "number"
    TEXT = "text"
    NAME = "name"
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token."""

    kind: TokenKind
    text: str
    """As it is written; of a text, what stands between the quotes."""
    column: int
    """Where it starts, counted from 1."""
    number: float = 0.0


_TOKEN = re.compile(
    r"""
    (?P<blank>\s+)
    | (?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | "(?P<double>[^"\\]*)"
    | '(?P<single>[^'\\]*)'
    | (?P<sign>==|!=|<=|>=|=>|&&|\|\||~=|[≈<>!?:+\-*/().,=])
    """,
    re.VERBOSE,
)
_BEGINNING_OF_TEXT = "\"'"


def tokens_of(text: str) -> tuple[Token, ...]:
    """Return the tokens of a condition, an END last.

    Raises:
        ConditionError: a character that starts no token, an endless text, a number out of range, or
            too many tokens.
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        if match.lastgroup != "blank":
            found.append(_token(match))
        if len(found) > MAX_TOKENS:
            what = f"has more than {MAX_TOKENS} words and signs"
            raise ConditionError(what, column=at + 1)
        at = match.end()
    return (*found, Token(kind=TokenKind.END, text="", column=len(text) + 1))


def _token(match: re.Match[str]) -> Token:
    column = match.start() + 1
    kind, text = match.lastgroup or "", match[match.lastgroup or 0]
    if kind == "number":
        number = float(text)
        if number > _LARGEST:
            msg = f"{text[:_SHOWN]} is larger than {_LARGEST:g}"
            raise ConditionError(msg, column=column)
        return Token(kind=TokenKind.NUMBER, text=text, column=column, number=number)
    if kind in {"single", "double"}:
        return Token(kind=TokenKind.TEXT, text=text, column=column)
    return Token(kind=TokenKind(kind), text=text, column=column)


def _unreadable(text: str, at: int) -> ConditionError:
    if text[at] in _BEGINNING_OF_TEXT:
        what = "a text that starts here has no end, or holds a backslash, which has no meaning here"
        return ConditionError(what, column=at + 1)
    hint = {"&": "and is written &&", "|": "or is written ||"}.get(text[at], "")
    return ConditionError(f"{text[at]!r} has no meaning here", column=at + 1, hint=hint)
