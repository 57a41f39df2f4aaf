"""Which expression of a prompt is the question."""

import re
from collections.abc import Sequence

from aprqa_ci.planning.expressions import Expression, expressions_in
from aprqa_ci.planning.lexicon import lexicon
from aprqa_ci.planning.numerals import Token, TokenKind, tokenize

__all__ = ["MAX_PROMPT", "find_expression"]

MAX_PROMPT = 65_536
"""A longer prompt, in characters, is not searched for arithmetic."""

_CUE = re.compile(
    r"(?:what['\u2019]?s|what is|what are|what does|how much is|calculate|compute|evaluate|solve"
    r"|work out|simplify|find|determine|answer|question|result of|value of|tell me|give me"
    r"|problem|\bq|equals?|is)\s*[:,]?\s*[\"'`$(]*\s*\Z",
    re.IGNORECASE,
)
"""What stands directly before an expression that is asked for."""

_YES_NO = re.compile(
    r"(?:^|[.!?\n,:]\s*|\b(?:if|whether|that|why|not|because)\s+)"
    r"(?:is|are|does|do|if|whether|that|why|not|because)\s*\Z|\b(?:if|whether|that|why)\s*\Z",
    re.IGNORECASE,
)
"""What stands before an expression that is only spoken of: ``Is 2 + 2 equal to 5?``."""

_DATE = re.compile(
    r"\d{4}[-/–]\d{1,2}[-/–]\d{1,2}|\d{1,2}[-/–]\d{1,2}[-/–]\d{2,4}|\d{3}-\d{4}|\d{3}-\d{3}-\d{4}"
)


def find_expression(prompt: str) -> Expression | None:
    """Return the one expression whose value the prompt asks for, or nothing.

    Nothing is the answer whenever there is doubt: no expression or several, variables (``2*x``),
    powers, a question about an expression (``Is 2+2 equal to 5?``), further instructions (``then
    double it``), dates, versions and ranges. A hyphen, a slash or an ``x`` counts as an operator
    only with a cue before it (``What is``, ``Calculate``), an ``=`` after it, or nothing beside it.
    Lines of the shape ``2+3=5`` before a line ``4+4=`` are examples, not questions.
    """
    if len(prompt) > MAX_PROMPT:
        return None
    tokens = tokenize(prompt)
    found = expressions_in(prompt, tokens)
    open_ones = [
        expression for expression in found if not _is_example(tokens, expression, len(found))
    ]
    if len(open_ones) != 1:
        return None
    expression = open_ones[0]
    examples = [other for other in found if other is not expression]
    if expression.value is None or _is_doubtful(prompt, tokens, expression, examples):
        return None
    return expression


def _is_example(tokens: Sequence[Token], expression: Expression, count: int) -> bool:
    """Whether the expression's value already stands behind it, among others."""
    return (
        count > 1
        and expression.after + 1 < len(tokens)
        and tokens[expression.after].kind is TokenKind.EQUALS
        and tokens[expression.after + 1].kind is TokenKind.NUMBER
    )


def _is_doubtful(
    prompt: str,
    tokens: Sequence[Token],
    expression: Expression,
    examples: Sequence[Expression],
) -> bool:
    before = prompt[max(0, expression.start - 48) : expression.start]
    rest = tokens[expression.after :]
    outside = (*tokens[: expression.first], *rest)
    if any(
        (token.kind is TokenKind.WORD and token.text in lexicon().further)
        or token.kind is TokenKind.POWER
        for token in outside
    ):
        return True
    if _has_variables(tokens) or _runs_on(tokens, expression) or _YES_NO.search(before):
        return True
    cue = bool(_CUE.search(before)) or tokens[expression.first].kind is TokenKind.WORD
    asked = _asks_behind(rest)
    if asked is None:
        return True
    alone = all(token.kind in {TokenKind.MARK, TokenKind.BREAK} for token in outside)
    if cue or asked or alone:
        return _is_hyphenated(expression, rest, asked=asked)
    if any(character in "-–/xX" for character in expression.text):
        return True
    spans = [(other.first, other.after + 2) for other in examples]
    return any(
        token.kind is TokenKind.NUMBER
        for index, token in enumerate(tokens)
        if not expression.first <= index < expression.after
        and not any(first <= index < after for first, after in spans)
    )


def _asks_behind(rest: Sequence[Token]) -> bool | None:
    """Whether ``=`` and nothing follows; nothing when a value follows: ``2+2 = 5``."""
    if not rest or not (
        rest[0].kind is TokenKind.EQUALS or rest[0].is_word("equals", "equal", "is")
    ):
        return False
    for token in rest[1:]:
        if token.kind is TokenKind.NUMBER:
            return None
        if token.kind is not TokenKind.MARK or token.text not in "?_ ":
            return token.kind is TokenKind.BREAK
    return True


def _runs_on(tokens: Sequence[Token], expression: Expression) -> bool:
    """Whether an operator, an ``=`` or a decimal stands against the expression from outside."""
    if expression.first:
        token = tokens[expression.first - 1]
        if token.kind in {TokenKind.OPERATOR, TokenKind.EQUALS, TokenKind.POWER}:
            return True
        if token.text in {"_", "#", "@"} and token.end == expression.start:
            return True
    if expression.after < len(tokens):
        token = tokens[expression.after]
        return token.kind in {TokenKind.OPERATOR, TokenKind.POWER} or (
            token.text in {"_", "@", "!"} and token.end - 1 == expression.end
        )
    return False


def _has_variables(tokens: Sequence[Token]) -> bool:
    """Whether an operator joins a number and a word, as in ``2*x`` or ``the result plus 10``."""
    for index, token in enumerate(tokens[1:-1], start=1):
        if token.kind is not TokenKind.OPERATOR:
            continue
        left, right = tokens[index - 1], tokens[index + 1]
        kinds = {left.kind, right.kind}
        hyphen = token.text == "-" and left.end == token.start and token.end == right.start
        if kinds == {TokenKind.WORD} and not hyphen and len(left.text) == len(right.text) == 1:
            return True
        sign_of_number = left.end < token.start and token.end == right.start and token.text in "+-"
        if kinds == {TokenKind.WORD, TokenKind.NUMBER} and not (
            (hyphen or sign_of_number) and max(len(left.text), len(right.text)) > 1
        ):
            # "10 - and" is a stray dash, "10 + x" is algebra; "GPT-4" and "3-step" are words.
            return right.kind is TokenKind.NUMBER or len(right.text) == 1
    return False


def _is_hyphenated(expression: Expression, rest: Sequence[Token], *, asked: bool) -> bool:
    """Whether it is a date, a telephone number or a range after all: ``What is 1-10 scale``."""
    text = expression.text
    if _DATE.fullmatch(text) or re.search(r"(?:^|[-/–])0\d", text):
        return True
    if asked or not any(character in "-–/xX" for character in text):
        return False
    return (
        bool(rest) and rest[0].kind is TokenKind.WORD and rest[0].text not in lexicon().may_follow
    )
