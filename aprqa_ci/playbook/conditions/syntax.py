"""From tokens to the tree of a condition: a Pratt parser, bounded in depth."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from aprqa_ci.playbook.conditions.tokens import ConditionError, Token, TokenKind, tokens_of

__all__ = [
    "MAX_DEPTH",
    "Binary",
    "Call",
    "Constant",
    "Fact",
    "Node",
    "Ternary",
    "Unary",
    "parse_condition",
    "walk",
]

MAX_DEPTH = 32
"""A condition that is nested deeper is refused."""


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A number, a text, ``true`` or ``false``."""

    value: float | str | bool
    column: int = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A recorded fact by its name."""

    name: str
    column: int = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A function of facts; ``output.len()`` is ``len(output)``."""

    name: str
    arguments: tuple["Node", ...]
    keywords: tuple[tuple[str, "Node"], ...] = ()
    column: int = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Unary:
    """``!`` or ``-`` before something."""

    sign: str
    operand: "Node"
    column: int = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Binary:
    """An operator between two things."""

    sign: str
    left: "Node"
    right: "Node"
    column: int = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Ternary:
    """``condition ? one : other``."""

    condition: "Node"
    then: "Node"
    otherwise: "Node"
    column: int = field(compare=False)


Node = Constant | Fact | Call | Unary | Binary | Ternary
"""A part of a condition. Two are equal when they say the same, wherever they stand."""

_STRENGTH = {
    "?": 1,
    "=>": 2,
    "||": 3,
    "&&": 4,
    "==": 5,
    "!=": 5,
    "<": 5,
    "<=": 5,
    ">": 5,
    ">=": 5,
    "≈": 5,
    "+": 6,
    "-": 6,
    "*": 7,
    "/": 7,
}
_COMPARED = 5
_PREFIX = 8
_SAME = {"~=": "≈"}
_CONSTANTS = {"true": True, "false": False}
_PROPERTIES = {"length": "len"}


def parse_condition(text: str) -> Node:
    """Return the tree of a condition.

    Raises:
        ConditionError: it does not follow the grammar, or is too long or too deep.
    """
    parser = _Parser(tokens_of(text))
    tree = parser.read(0, 0)
    parser.expect_end()
    return tree


def walk(node: Node) -> Iterator[Node]:
    """Return the node and everything below it."""
    yield node
    match node:
        case Call():
            for part in (*node.arguments, *(value for _, value in node.keywords)):
                yield from walk(part)
        case Unary():
            yield from walk(node.operand)
        case Binary():
            yield from walk(node.left)
            yield from walk(node.right)
        case Ternary():
            yield from walk(node.condition)
            yield from walk(node.then)
            yield from walk(node.otherwise)
        case Constant() | Fact():
            pass


class _Parser:
    """Reads one condition from left to right."""

    def __init__(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        if token.kind is not TokenKind.END:
            self._at += 1
        return token

    def _has(self, sign: str) -> bool:
        found = self._next.kind is TokenKind.SIGN and self._next.text == sign
        if found:
            self._take()
        return found

    def _expect(self, sign: str) -> None:
        if not self._has(sign):
            msg = f"{sign!r} is expected before"
            raise self._surprise(msg)

    def expect_end(self) -> None:
        if self._next.kind is not TokenKind.END:
            msg = "an operator is expected before"
            raise self._surprise(msg)

    def _surprise(self, what: str) -> ConditionError:
        token = self._next
        if token.kind is TokenKind.END:
            return ConditionError(f"{what} its end", column=token.column)
        return ConditionError(f"{what} {token.text[:24]!r}", column=token.column)

    def read(self, least: int, depth: int) -> Node:
        """Read what binds more strongly than ``least``."""
        if depth > MAX_DEPTH:
            what = f"is nested more than {MAX_DEPTH} deep"
            raise ConditionError(what, column=self._next.column)
        left = self._operand(depth)
        links = 0
        while True:
            token = self._next
            sign = _SAME.get(token.text, token.text)
            strength = _STRENGTH.get(sign, 0) if token.kind is TokenKind.SIGN else 0
            if strength <= least:
                return left
            # A chain such as a + b + c is nested to the left, one level a link.
            links += 1
            if depth + links > MAX_DEPTH:
                what = f"is nested more than {MAX_DEPTH} deep"
                raise ConditionError(what, column=token.column)
            self._take()
            left = self._joined(left, sign, strength, depth, token.column)

    def _joined(self, left: Node, sign: str, strength: int, depth: int, column: int) -> Node:
        if sign == "?":
            then = self.read(0, depth + 1)
            self._expect(":")
            otherwise = self.read(0, depth + 1)
            return Ternary(condition=left, then=then, otherwise=otherwise, column=column)
        # `=>` groups to the right, everything else to the left.
        right = self.read(strength - 1 if sign == "=>" else strength, depth + 1)
        if strength == _COMPARED and _STRENGTH.get(self._next.text) == _COMPARED:
            what = "comparisons cannot be chained"
            raise ConditionError(what, column=self._next.column, hint="join them with &&")
        return Binary(sign=sign, left=left, right=right, column=column)

    def _operand(self, depth: int) -> Node:
        token = self._next
        if token.kind is TokenKind.SIGN and token.text in {"!", "-"}:
            self._take()
            operand = self.read(_PREFIX, depth + 1)
            return Unary(sign=token.text, operand=operand, column=token.column)
        return self._with_methods(self._primary(depth), depth)

    def _primary(self, depth: int) -> Node:
        token = self._next
        match token.kind:
            case TokenKind.NUMBER:
                self._take()
                return Constant(value=token.number, column=token.column)
            case TokenKind.TEXT:
                self._take()
                return Constant(value=token.text, column=token.column)
            case TokenKind.NAME:
                self._take()
                if token.text in _CONSTANTS:
                    return Constant(value=_CONSTANTS[token.text], column=token.column)
                if self._has("("):
                    return self._call(token, (), depth)
                return Fact(name=token.text, column=token.column)
            case _:
                if self._has("("):
                    inner = self.read(0, depth + 1)
                    self._expect(")")
                    return inner
                msg = "a fact, a number or a text is expected before"
                raise self._surprise(msg)

    def _with_methods(self, node: Node, depth: int) -> Node:
        links = 0
        while self._has("."):
            links += 1
            if depth + links > MAX_DEPTH:
                what = f"is nested more than {MAX_DEPTH} deep"
                raise ConditionError(what, column=self._next.column)
            token = self._next
            if token.kind is not TokenKind.NAME:
                msg = "a name is expected before"
                raise self._surprise(msg)
            self._take()
            if self._has("("):
                node = self._call(token, (node,), depth)
            elif token.text in _PROPERTIES:
                node = Call(name=_PROPERTIES[token.text], arguments=(node,), column=token.column)
            else:
                msg = f"'(' is expected after {token.text[:24]!r} and before"
                raise self._surprise(msg)
        return node

    def _call(self, name: Token, first: tuple[Node, ...], depth: int) -> Call:
        arguments = list(first)
        keywords: list[tuple[str, Node]] = []
        while not self._has(")"):
            if len(arguments) + len(keywords) > len(first):
                self._expect(",")
            word = self._keyword()
            value = self.read(0, depth + 1)
            if word:
                keywords.append((word, value))
            else:
                arguments.append(value)
        return Call(
            name=name.text,
            arguments=tuple(arguments),
            keywords=tuple(keywords),
            column=name.column,
        )

    def _keyword(self) -> str:
        """Take ``name =`` before an argument, if it is there."""
        token = self._next
        after = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.kind is TokenKind.NAME and (after.kind, after.text) == (TokenKind.SIGN, "="):
            self._at += 2
            return token.text
        return ""
