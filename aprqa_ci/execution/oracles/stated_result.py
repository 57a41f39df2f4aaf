"""Which number of an answer is its result."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from aprqa_ci.execution.oracles.text import quoted
from aprqa_ci.planning.expressions import Expression, expressions_in
from aprqa_ci.planning.lexicon import lexicon
from aprqa_ci.planning.numerals import Token, TokenKind, tokenize

__all__ = ["StatedResult", "stated_result"]


@dataclass(frozen=True, kw_only=True)
class StatedResult:
    """The number that an answer gives as its result."""

    value: Fraction
    text: str
    decimals: int
    because: str
    """Which rule chose it."""


def stated_result(prompt: str, expression: Expression, answer: str) -> StatedResult | None:
    r"""Return the number that the answer states as its result, or nothing.

    An answer is read up to where it goes on to ask itself another question. Of what is left the
    first rule that finds a number decides:

    1. the last explicit statement: the asked expression with ``=``, *is*, *equals* and a number
       behind it (of a chain the last number), ``answer is``/``result:`` and a number, ``\boxed{}``,
       ``####``;
    2. a number that the answer starts with and that ends its line or sentence;
    3. the number behind the last ``=``, *is*, *equals*, *makes*, *gives*;
    4. the last number in digits that is not part of an expression, else the last one in letters.

    Numbers behind *not* and *instead of*, the numbering of lists and numbers with a unit or inside
    a word are never the result.

    Args:
        prompt: the question; an answer that repeats it first is read from behind it.
        expression: what was asked.
        answer: plain text.
    """
    if prompt.strip() and answer.lstrip().startswith(prompt.strip()):
        answer = answer.lstrip()[len(prompt.strip()) :]
    tokens = tokenize(answer)
    found = expressions_in(answer, tokens)
    end = _next_question(answer, tokens, found, expression)
    found = [other for other in found if other.after <= end]
    parts: list[Expression] = []
    barred = _barred(tokens[:end])
    for other in found:
        if _is_fraction(other) and not other.same_as(expression):
            barred.add(other.after - 1)
        else:
            parts.append(other)
    reading = _Reading(
        tokens=tokens[:end],
        found={other.first: other for other in parts},
        inside=frozenset(at for other in parts for at in range(other.first, other.after)),
        barred=frozenset(barred),
    )
    return (
        reading.statement(expression)
        or reading.leading()
        or reading.last_connected()
        or reading.last_number()
    )


_FILLER_MARKS = frozenset("*_`\"'$:({[~,")
_CLOSING_MARKS = frozenset(["*", "**", "_", "`", '"', "'", "$", ")", "\\", "]", ":", ","])
_ENDING_MARKS = frozenset([".", "!", ";", "*", "`", '"', "'", "}", "$"])
_ASKS = re.compile(
    r"(?:what['\u2019]?s|what is|calculate|compute|how much is|evaluate|solve|q(?:uestion)?\s*:"
    r"|user\s*:|human\s*:|add|subtract|multiply|divide)\s*\Z",
    re.IGNORECASE,
)


def _next_question(
    text: str, tokens: Sequence[Token], found: Sequence[Expression], asked: Expression
) -> int:
    """Return the index of the token where the answer starts to ask something else."""
    for expression in found:
        before = text[max(0, expression.start - 24) : expression.start]
        starts_line = expression.first and _ASKS.search(before)
        if not starts_line or expression.same_as(asked):
            continue
        after = tokens[expression.after : expression.after + 2]
        if (
            any(token.text in {"?", "=", "\n", "."} for token in after)
            or "?" in before
            or not after
        ):
            return expression.first
    return len(tokens)


def _is_fraction(expression: Expression) -> bool:
    """Whether it is a number itself: ``1/3``, in lowest terms and written without blanks."""
    if expression.signs != "/" or expression.value is None or " " in expression.text:
        return False
    above, below = expression.operands
    value = expression.value
    return abs(above) == abs(value.numerator) and below == value.denominator


def _barred(tokens: Sequence[Token]) -> set[int]:
    """Return the indexes of numbers that are no result: list numbering and denied numbers."""
    barred = set()
    numbering: list[int] = []
    for index, token in enumerate(tokens):
        if token.kind is not TokenKind.NUMBER:
            continue
        words = [other.text for other in tokens[max(0, index - 3) : index]]
        if words and (
            words[-1] in lexicon().negations or words[-2:] in (["instead", "of"], ["not", "equal"])
        ):
            barred.add(index)
        if words[-1:] in ([","], ["*"]) and words[-2:-1] and words[-2] in lexicon().negations:
            barred.add(index)
        starts_line = index == 0 or tokens[index - 1].kind is TokenKind.BREAK
        if starts_line and index + 2 < len(tokens) and tokens[index + 1].text in {".", ")"}:
            numbering.append(index)
    if len(numbering) > 1 and all(
        tokens[index].value == count for count, index in enumerate(numbering, start=1)
    ):
        barred.update(numbering)
    return barred


def _is_in(token: Token, words: frozenset[str]) -> bool:
    return token.kind is TokenKind.WORD and token.text in words


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """An answer as tokens, with the expressions in it."""

    tokens: Sequence[Token]
    found: dict[int, Expression]
    """By the index of the first token."""
    inside: frozenset[int]
    """The indexes of all tokens of expressions."""
    barred: frozenset[int]
    """The indexes of numbers that are no result."""

    def statement(self, asked: Expression) -> StatedResult | None:
        """Rule 1."""
        best: tuple[int, StatedResult] | None = None
        read = 0
        for expression in self.found.values():
            if expression.first >= read and expression.same_as(asked):
                at, read = self._chain_end(expression)
                if at is not None:
                    best = at, self._result(at, "its result of the asked expression")
        for index, token in enumerate(self.tokens):
            if not self._announces(index, token):
                continue
            at = self._number_behind(index + 1)
            if at is not None and (best is None or at > best[0]):
                best = at, self._result(at, "its stated answer")
        return best and best[1]

    def _announces(self, index: int, token: Token) -> bool:
        """Whether a final result follows this token."""
        if token.text == "\\boxed":
            return True
        if token.text == "#":
            return [other.text for other in self.tokens[index - 3 : index]] == ["#"] * 3
        if not (self._connects(token) or token.text == ":"):
            return False
        for other in reversed(self.tokens[max(0, index - 6) : index]):
            if _is_in(other, lexicon().result_words):
                return True
            if other.text in {".", "?", "!"} or other.kind is TokenKind.BREAK:
                return False
        return False

    def _connects(self, token: Token) -> bool:
        return token.kind is TokenKind.EQUALS or _is_in(token, lexicon().connectors)

    def _chain_end(self, expression: Expression) -> tuple[int | None, int]:
        """Return where the last number of ``expression = … = number`` is, and the chain's end."""
        at: int | None = None
        index = expression.after
        while (joint := self._joint(index)) is not None:
            behind = self._number_behind(joint + 1, expressions_too=True)
            if behind is None:
                break
            if behind in self.found:
                index = self.found[behind].after
            else:
                at = behind
                index = behind + 1
        return at, index

    def _joint(self, index: int) -> int | None:
        """Return where a connector stands: here, or behind closing marks."""
        for at in range(index, min(index + 4, len(self.tokens))):
            token = self.tokens[at]
            if self._connects(token):
                return at
            if token.text not in _CLOSING_MARKS:
                return None
        return None

    def _number_behind(self, index: int, *, expressions_too: bool = False) -> int | None:
        """Return where the number, or expression, that follows is, past words that lead to it."""
        for at in range(index, min(index + 8, len(self.tokens))):
            token = self.tokens[at]
            if at in self.found:
                return at if expressions_too else None
            if token.kind is TokenKind.NUMBER:
                return None if at in self.barred else at
            if not (self._is_sign(at) or self._leads(token)):
                return None
        return None

    def _leads(self, token: Token) -> bool:
        """Whether a token may stand between a connector and its number."""
        return (
            _is_in(token, lexicon().fillers)
            or token.text in _FILLER_MARKS
            or token.kind in {TokenKind.EQUALS, TokenKind.POWER, TokenKind.OPEN}
        )

    def _is_sign(self, at: int) -> bool:
        """Whether a minus stands here, directly before a number."""
        token, after = self.tokens[at], self.tokens[at + 1 : at + 2]
        return (
            token.text in {"-", "+"}
            and token.kind is TokenKind.OPERATOR
            and bool(after)
            and after[0].kind is TokenKind.NUMBER
            and (token.spelled or after[0].start == token.end)
        )

    def leading(self) -> StatedResult | None:
        """Rule 2."""
        at = self._number_behind(self._first_line())
        if at is None or at in self.inside or not self._ends_there(at):
            return None
        return self._result(at, "its first number")

    def _first_line(self) -> int:
        index = 0
        while index < len(self.tokens) and self.tokens[index].kind is TokenKind.BREAK:
            index += 1
        return index

    def _ends_there(self, at: int) -> bool:
        """Whether line or sentence end behind the number, and no list goes on."""
        after = self.tokens[at + 1 : at + 3]
        if not after:
            return True
        if after[0].text == ",":
            return len(after) == 1 or after[1].kind is not TokenKind.NUMBER
        return (
            after[0].kind in {TokenKind.BREAK, TokenKind.POWER, TokenKind.OPEN}
            or after[0].text in _ENDING_MARKS
            or (after[0].is_word("is", "because", "since") and len(after) > 1)
        )

    def last_connected(self) -> StatedResult | None:
        """Rule 3."""
        for index in range(len(self.tokens) - 1, -1, -1):
            if self._connects(self.tokens[index]):
                at = self._number_behind(index + 1)
                if at is not None:
                    return self._result(at, f"the number behind {quoted(self.tokens[index].text)}")
        return None

    def last_number(self) -> StatedResult | None:
        """Rule 4."""
        free = [
            index
            for index, token in enumerate(self.tokens)
            if token.kind is TokenKind.NUMBER
            and index not in self.barred
            and index not in self.inside
        ]
        digits = [index for index in free if not self.tokens[index].spelled]
        letters = [index for index in free if self.tokens[index].spelled]
        # A lone "one" is a pronoun more often than a number.
        named = [index for index in letters if self.tokens[index].text != "one"] or letters
        if not (digits or named):
            return None
        return self._result((digits or named)[-1], "its last number")

    def _result(self, at: int, because: str) -> StatedResult:
        token = self.tokens[at]
        value, text = token.value, token.text
        after = self.tokens[at + 1 : at + 3]
        if (
            len(after) == 2
            and after[0].text == "/"
            and after[1].kind is TokenKind.NUMBER
            and after[1].value
        ):
            value, text = value / after[1].value, f"{text}/{after[1].text}"
        negative = self._is_negative(at)
        return StatedResult(
            value=-value if negative else value,
            text=f"-{text}" if negative else text,
            decimals=token.decimals,
            because=because,
        )

    def _is_negative(self, at: int) -> bool:
        if at == 0 or not (self.tokens[at - 1].is_word("negative") or self._is_sign(at - 1)):
            return False
        after_number = at > 1 and self.tokens[at - 2].kind in {TokenKind.NUMBER, TokenKind.CLOSE}
        return self.tokens[at - 1].text != "+" and not after_number
