"""Finding the arithmetic in a text, and its exact value.

Grammar::

    expression := term (("+" | "-") term)*
    term       := factor (("*" | "/") factor)*
    factor     := "-" factor | "+" factor | NUMBER | "(" expression ")"

and in words ``add 3 and 4``, ``the sum of 1, 2 and 3``, ``subtract 3 from 10``, ``multiply 3 by
4``, ``divide 12 by 4``, ``the product of …``, ``the difference between 10 and 3``. Values are
fractions, so nothing is rounded; sizes are bounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from aprqa_ci.planning.numerals import Token, TokenKind

__all__ = ["MAX_OPERANDS", "Expression", "expressions_in"]

MAX_OPERANDS = 32
"""A chain of more operands has no value here."""
_MAX_DEPTH = 8


@dataclass(frozen=True, kw_only=True)
class Expression:
    """An expression found in a text."""

    text: str
    """As it is written there."""
    start: int
    end: int
    first: int
    """The index of its first token."""
    after: int
    """The index of the token after it."""
    value: Fraction | None
    """Exact; absent when it divides by zero or is too long."""
    operands: tuple[Fraction, ...]
    signs: str
    """The operators in the order they are written."""

    def same_as(self, other: "Expression") -> bool:
        """Whether it asks for the same: the same operands in any order, and the same value."""
        return self.value == other.value and sorted(self.operands) == sorted(other.operands)


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What the parser has read so far, up to token ``after``."""

    value: Fraction | None
    after: int
    operands: tuple[Fraction, ...]
    signs: str


def expressions_in(text: str, tokens: Sequence[Token]) -> list[Expression]:
    """Return every expression with at least one operator, from left to right, none overlapping."""
    found = []
    index = 0
    while index < len(tokens):
        part = _in_words(tokens, index) or _sum(tokens, index, 0)
        if part is None or not part.signs:
            index += 1
            continue
        start, end = tokens[index].start, tokens[part.after - 1].end
        found.append(
            Expression(
                text=text[start:end],
                start=start,
                end=end,
                first=index,
                after=part.after,
                value=part.value,
                operands=part.operands,
                signs=part.signs,
            )
        )
        index = part.after
    return found


def _sum(tokens: Sequence[Token], at: int, depth: int) -> _Part | None:
    return _chain(tokens, at, depth, "+-")


def _chain(tokens: Sequence[Token], at: int, depth: int, signs: str) -> _Part | None:
    """Read operands of one precedence, from left to right."""
    below = _factor if signs == "*/" else _product
    left = below(tokens, at, depth)
    if left is None:
        return None
    value, after = left.value, left.after
    operands, written = list(left.operands), [left.signs]
    while (sign := _sign_at(tokens, after)) and sign in signs:
        right = below(tokens, after + 1, depth)
        if right is None:
            break
        operands += right.operands
        written += sign, right.signs
        value = _apply(sign, value, right.value) if len(operands) <= MAX_OPERANDS else None
        after = right.after
    return _Part(value=value, after=after, operands=tuple(operands), signs="".join(written))


def _product(tokens: Sequence[Token], at: int, depth: int) -> _Part | None:
    return _chain(tokens, at, depth, "*/")


def _factor(tokens: Sequence[Token], at: int, depth: int) -> _Part | None:
    if at >= len(tokens) or depth > _MAX_DEPTH:
        return None
    token = tokens[at]
    if token.kind is TokenKind.NUMBER:
        return _Part(value=token.value, after=at + 1, operands=(token.value,), signs="")
    if token.kind is TokenKind.OPEN:
        inner = _sum(tokens, at + 1, depth + 1)
        closed = inner is not None and _kind(tokens, inner.after) is TokenKind.CLOSE
        if inner is None or not closed:
            return None
        return _Part(
            value=inner.value, after=inner.after + 1, operands=inner.operands, signs=inner.signs
        )
    if token.kind is TokenKind.OPERATOR and token.text in "+-" and not token.spelled:
        # A sign stands directly before its number, and a number does not stand before it.
        if at + 1 >= len(tokens) or tokens[at + 1].start != token.end:
            return None
        inner = _factor(tokens, at + 1, depth + 1)
        if inner is None or inner.value is None:
            return inner
        factor = -1 if token.text == "-" else 1
        operands = tuple(operand * factor for operand in inner.operands[:1]) + inner.operands[1:]
        return _Part(
            value=inner.value * factor, after=inner.after, operands=operands, signs=inner.signs
        )
    return None


def _kind(tokens: Sequence[Token], at: int) -> TokenKind | None:
    return tokens[at].kind if at < len(tokens) else None


def _sign_at(tokens: Sequence[Token], at: int) -> str:
    """Return the operator at ``at``; an ``x`` counts where a number follows it."""
    if at >= len(tokens):
        return ""
    token = tokens[at]
    if token.kind is TokenKind.OPERATOR:
        return token.text
    if token.is_word("x") and _kind(tokens, at + 1) in {TokenKind.NUMBER, TokenKind.OPEN}:
        return "*"
    return ""


def _apply(sign: str, left: Fraction | None, right: Fraction | None) -> Fraction | None:
    if left is None or right is None:
        return None
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    return left / right if right else None


_VERBS = {
    "add": "+",
    "sum": "+",
    "total": "+",
    "multiply": "*",
    "product": "*",
    "subtract": "-",
    "difference": "-",
    "divide": "/",
    "quotient": "/",
}
_JOINS = {
    "+": ("and", "to", "plus"),
    "*": ("and", "by", "with"),
    "-": ("and", "from"),
    "/": ("and", "by"),
}


def _in_words(tokens: Sequence[Token], at: int) -> _Part | None:
    """Read ``add 3 and 4`` and its kin, which start with a verb or a noun."""
    token = tokens[at]
    sign = _VERBS.get(token.text) if token.kind is TokenKind.WORD else None
    if sign is None:
        return None
    index = at + 1
    while index < len(tokens) and tokens[index].is_word("of", "between", "the", "numbers"):
        index += 1
    values: list[Fraction] = []
    joined_by = ""
    after = at
    while len(values) <= MAX_OPERANDS:
        number = _factor(tokens, index, _MAX_DEPTH)
        if number is None or number.value is None:
            break
        values.append(number.value)
        after, index = number.after, number.after
        comma = index < len(tokens) and tokens[index].text == ","
        index += comma
        if index < len(tokens) and tokens[index].is_word(*_JOINS[sign]):
            joined_by = tokens[index].text
            index += 1
        elif not comma:
            break
    if not 2 <= len(values) <= MAX_OPERANDS or (sign in "-/" and len(values) != 2):
        return None
    if joined_by == "from":
        values.reverse()
    value: Fraction | None = values[0]
    for right in values[1:]:
        value = _apply(sign, value, right)
    return _Part(value=value, after=after, operands=tuple(values), signs=sign * (len(values) - 1))
