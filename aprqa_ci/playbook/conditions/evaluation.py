"""Evaluating a condition over facts that may be missing.

Besides true and false there are two ways to have no value. A fact that should be there and is not
is *missing*; a fact that has nothing to say here, such as the arithmetic oracle of a greeting, does
*not apply*. Neither ever comes out as true.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Protocol

from aprqa_ci.playbook.conditions.syntax import Binary, Call, Constant, Fact, Node, Ternary, Unary

__all__ = ["Answers", "Facts", "Inapplicable", "Missing", "Value", "evaluate"]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """No value: a fact that should be there is not."""

    what: str
    """What is missing, in words."""


@dataclass(frozen=True, kw_only=True)
class Inapplicable:
    """No value: the condition says nothing of this case."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of several cells to the same prompts."""

    cells: tuple[tuple[str, str | None, tuple[str, ...]], ...]
    """What tells the cells apart that are compared, the quantization, and the answers."""


Value = bool | float | str | Answers | Missing | Inapplicable


class Facts(Protocol):
    """What a condition is evaluated over."""

    def fact(self, name: str) -> Value:
        """Return the fact of that name."""
        ...

    def call(self, name: str, arguments: tuple[str, ...]) -> Value:
        """Return what a function that is no plain text function says."""
        ...

    def alike(self, left: Answers, right: Answers) -> Value:
        """Say whether answers agree."""
        ...


def evaluate(node: Node, facts: Facts) -> Value:
    """Return the value of a checked condition's tree. Pure as far as ``facts`` are.

    - ``a && b`` is false as soon as one of them is, and ``a || b`` true as soon as one of them is;
      otherwise what has no value gives none.
    - ``a => b`` does not apply where ``a`` is false.
    - A division by zero, and a result that is no finite number, have no value.
    """
    match node:
        case Constant():
            return node.value
        case Fact():
            return facts.fact(node.name)
        case Call():
            return _call(node, facts)
        case Unary():
            value = evaluate(node.operand, facts)
            if isinstance(value, Missing | Inapplicable):
                return value
            return not value if node.sign == "!" else -_number(value)
        case Ternary():
            condition = evaluate(node.condition, facts)
            if isinstance(condition, Missing | Inapplicable):
                return condition
            return evaluate(node.then if condition else node.otherwise, facts)
        case Binary(sign="&&" | "||"):
            return _joined(node, facts)
        case Binary(sign="=>"):
            left = evaluate(node.left, facts)
            if left is False:
                return Inapplicable()
            right = evaluate(node.right, facts)
            return left if isinstance(left, Missing | Inapplicable) else right
        case Binary():
            return _compared(node, facts)


def _joined(node: Binary, facts: Facts) -> Value:
    deciding = node.sign == "||"
    left = evaluate(node.left, facts)
    if left is deciding:
        return left
    right = evaluate(node.right, facts)
    if right is deciding:
        return right
    for wanted in (Missing, Inapplicable):
        for value in (left, right):
            if isinstance(value, wanted):
                return value
    return right


def _compared(node: Binary, facts: Facts) -> Value:
    left, right = evaluate(node.left, facts), evaluate(node.right, facts)
    for wanted in (Missing, Inapplicable):
        for value in (left, right):
            if isinstance(value, wanted):
                return value
    match node.sign:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "≈":
            if not isinstance(left, Answers) or not isinstance(right, Answers):
                return Missing(what="answers to compare")
            return facts.alike(left, right)
        case _:
            return _calculated(node.sign, _number(left), _number(right))


def _calculated(sign: str, left: float, right: float) -> Value:
    match sign:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "+":
            result = left + right
        case "-":
            result = left - right
        case "*":
            result = left * right
        case _:
            if not right:
                return Missing(what="a number to divide by other than 0")
            result = left / right
    return result if isfinite(result) else Missing(what="a finite number")


def _call(node: Call, facts: Facts) -> Value:
    arguments: list[str] = []
    for argument in node.arguments:
        value = evaluate(argument, facts)
        if isinstance(value, Missing | Inapplicable):
            return value
        arguments.append(str(value))
    match node.name, arguments:
        case "len", [text]:
            return float(len(text))
        case "contains", [text, part]:
            return part in text
        case "starts_with", [text, part]:
            return text.startswith(part)
        case "ends_with", [text, part]:
            return text.endswith(part)
        case "is_empty", [text]:
            return not text.strip()
        case _:
            return facts.call(node.name, tuple(arguments))


def _number(value: object) -> float:
    # The types were checked when the condition was read.
    assert isinstance(value, float | int)  # noqa: S101 - see above
    return float(value)
