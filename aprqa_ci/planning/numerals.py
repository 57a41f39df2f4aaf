"""Reading text as numbers, operators and words: the tokens that arithmetic is found in.

Linear in the length of the text: one regular expression without nested quantifiers, one pass.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cache

from aprqa_ci.planning.lexicon import lexicon

__all__ = ["MAX_DIGITS", "Token", "TokenKind", "tokenize"]

MAX_DIGITS = 40
"""A numeral of more digits is read as a word: nobody's arithmetic question needs one."""


class TokenKind(Enum):
    """What a token is."""

    NUMBER = "number"
    OPERATOR = "operator"
    """``text`` is ``+``, ``-``, ``*`` or ``/``, however it was written."""
    OPEN = "("
    CLOSE = ")"
    EQUALS = "="
    POWER = "power"
    WORD = "word"
    """A word in lower case, a number with a unit, a version."""
    MARK = "mark"
    """Any other character."""
    BREAK = "newline"


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One piece of text."""

    kind: TokenKind
    text: str
    start: int
    end: int
    value: Fraction = Fraction(0)
    """Of a number."""
    decimals: int = 0
    """Of a number in digits: how many digits stand after the decimal point."""
    spelled: bool = False
    """Whether a number or an operator is written in letters."""
    leading_zero: bool = False
    """Whether a number is written with a zero too many in front, as in dates."""

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these words."""
        return self.kind is TokenKind.WORD and self.text in words


_SEPARATORS = ",_'\u00a0\u202f\u2009"

# Scripts that put no blanks between words: a letter of theirs does not run into a number.
_UNSPACED = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_LETTER = rf"[^\W\d_{_UNSPACED}]"
_LETTER_OR_DIGIT = rf"[^\W{_UNSPACED}]"

_TOKEN = re.compile(
    rf"""
      (?P<number>\d+(?:[{_SEPARATORS}]\d+)*+(?:\.\d+)*+|\.\d+)
      (?P<exponent>[eE][+-]?\d{{1,3}}(?!\w))?
      (?P<unit>(?![xX]\d){_LETTER}{_LETTER_OR_DIGIT}*+|%)?
    | (?P<cross>(?<=\d)[xX](?=\d))
    | \\(?P<latex>[a-zA-Z]++)
    | (?P<word>{_LETTER}(?:{_LETTER_OR_DIGIT}|['\u2019](?=\w))*+)
    | (?P<newline>\n)
    | (?P<power>\*\*|\^)
    | (?P<equals>==|=>|[=≈≃≅→])
    | (?P<operator>[-+*/×÷\u2212\u2013\u00b7\u22c5\u2217])
    | (?P<open>\()
    | (?P<close>\))
    | (?P<space>[^\S\n]++)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)

_SYMBOLS = {
    "+": "+",
    "-": "-",
    "\u2212": "-",
    "\u2013": "-",
    "*": "*",
    "×": "*",
    "\u00b7": "*",
    "\u22c5": "*",
    "\u2217": "*",
    "/": "/",
    "÷": "/",
    "times": "*",
    "cdot": "*",
    "div": "/",
}
_WORD_OPERATORS = {"plus": "+", "minus": "-", "times": "*"}
_BY_OPERATORS = {"multiplied": "*", "divided": "/"}


@cache
def _small_and_tens() -> tuple[dict[str, int], dict[str, int]]:
    words = lexicon()
    small = {word: value for value, word in enumerate(words.units)}
    return small, {word: 10 * count for count, word in enumerate(words.tens, start=2)}


_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000}


def tokenize(text: str) -> list[Token]:
    """Return the tokens of ``text`` in order, blanks left out.

    Numbers in letters (``forty-two``, ``one hundred``) and operators in letters (``plus``,
    ``multiplied by``) come out as numbers and operators with ``spelled`` set.
    """
    return list(_operators(_spelled(list(_raw_tokens(text)))))


def _raw_tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        kind = match.lastgroup
        if match["number"] is not None:
            yield from _numbers(match)
        elif kind in {"operator", "cross", "latex"}:
            sign = "*" if kind == "cross" else _SYMBOLS.get(match[kind])
            if sign is None:
                yield Token(kind=TokenKind.MARK, text=match[0], start=start, end=end)
            else:
                yield Token(kind=TokenKind.OPERATOR, text=sign, start=start, end=end)
        elif kind == "word":
            word = match[0].lower().replace("\u2019", "'")
            yield Token(kind=TokenKind.WORD, text=word, start=start, end=end)
        elif kind is not None and kind != "space":
            yield Token(kind=_PLAIN[kind], text=match[0], start=start, end=end)


_PLAIN = {
    "newline": TokenKind.BREAK,
    "power": TokenKind.POWER,
    "equals": TokenKind.EQUALS,
    "open": TokenKind.OPEN,
    "close": TokenKind.CLOSE,
    "mark": TokenKind.MARK,
}


def _numbers(match: re.Match[str]) -> Iterator[Token]:
    """Read one cluster of digits: a number, several with commas between, or none at all."""
    start, end = match.span()
    cluster = match["number"]
    whole, *fractions = cluster.split(".")
    too_long = len(cluster) > MAX_DIGITS and max(map(len, re.split(r"\D", cluster))) > MAX_DIGITS
    if match["unit"] is not None or len(fractions) > 1 or too_long:
        yield Token(kind=TokenKind.WORD, text=match[0].lower(), start=start, end=end)
        return
    groups = re.split(f"[{_SEPARATORS}]", whole)
    separators = {character for character in whole if not character.isdigit()}
    if len(groups) > 1 and (
        len(separators) > 1 or len(groups[0]) > 3 or any(len(group) != 3 for group in groups[1:])
    ):
        # "1,2,3" is a list: each group is a number of its own.
        at = start
        for group in groups[:-1]:
            yield _number(group, "", "", at)
            at += len(group) + 1
        whole = groups[-1]
        start = at
    elif len(groups) * 3 > MAX_DIGITS:
        yield Token(kind=TokenKind.WORD, text=match[0].lower(), start=start, end=end)
        return
    yield _number(whole, fractions[0] if fractions else "", match["exponent"] or "", start)


def _number(whole: str, fraction: str, exponent: str, start: int) -> Token:
    digits = re.sub(r"\D", "", whole)
    value = Fraction(int(digits or "0"))
    if fraction:
        value += Fraction(int(fraction), 10 ** len(fraction))
    if exponent:
        value *= Fraction(10) ** int(exponent[1:])
    text = whole + (f".{fraction}" if fraction else "") + exponent
    return Token(
        kind=TokenKind.NUMBER,
        text=text,
        start=start,
        end=start + len(text),
        value=value,
        decimals=len(fraction),
        leading_zero=len(digits) > 1 and digits[0] == "0",
    )


def _spelled(tokens: list[Token]) -> Iterator[Token]:
    """Join words such as ``twenty one`` or ``forty-two`` to one number."""
    index = 0
    while index < len(tokens):
        end, value = _spelled_at(tokens, index)
        if end == index:
            yield tokens[index]
            index += 1
            continue
        yield Token(
            kind=TokenKind.NUMBER,
            text=" ".join(token.text for token in tokens[index:end]),
            start=tokens[index].start,
            end=tokens[end - 1].end,
            value=Fraction(value),
            spelled=True,
        )
        index = end


def _spelled_at(tokens: list[Token], start: int) -> tuple[int, int]:
    """Return where the number in letters that starts here ends, and its value."""
    small, tens = _small_and_tens()
    total = group = 0
    end = index = start
    last = ""
    while index < len(tokens) and tokens[index].kind is TokenKind.WORD and index - start < 24:
        word = tokens[index].text
        if word in tens and last in {"", "scale"}:
            group, last = group + tens[word], "tens"
        elif word in small and (last in {"", "scale"} or (last == "tens" and 0 < small[word] < 10)):
            group, last = group + small[word], "small"
        elif word in _SCALES and last:
            if word == "hundred":
                group *= 100
            else:
                total, group = total + group * _SCALES[word], 0
            last = "scale"
        else:
            break
        index = end = index + 1
        index += _joint(tokens, end, last)
    return end, total + group


def _joint(tokens: list[Token], at: int, last: str) -> int:
    """Return how many tokens at ``at`` only join: ``twenty-one``, ``hundred and five``."""
    if at + 1 >= len(tokens):
        return 0
    token, before = tokens[at], tokens[at - 1]
    if last == "tens" and token.text == "-" and token.start == before.end:
        return 1
    return 1 if last == "scale" and token.is_word("and") else 0


def _operators(tokens: Iterator[Token]) -> Iterator[Token]:
    """Turn operators in letters into operators."""
    waiting: Token | None = None
    for token in tokens:
        if waiting is not None:
            if token.is_word("by"):
                yield _operator(_BY_OPERATORS[waiting.text], waiting.start, token.end)
                waiting = None
                continue
            yield waiting
            waiting = None
        if token.is_word(*_BY_OPERATORS):
            waiting = token
        elif token.is_word(*_WORD_OPERATORS):
            yield _operator(_WORD_OPERATORS[token.text], token.start, token.end)
        else:
            yield token
    if waiting is not None:
        yield waiting


def _operator(sign: str, start: int, end: int) -> Token:
    return Token(kind=TokenKind.OPERATOR, text=sign, start=start, end=end, spelled=True)
