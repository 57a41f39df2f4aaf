"""A checked condition: every name is known, every type fits, and it can come out either way."""

from dataclasses import dataclass
from typing import Literal

from aprqa_ci.playbook.conditions.catalogue import (
    FactType,
    Scope,
    fact_catalogue,
    function_catalogue,
)
from aprqa_ci.playbook.conditions.syntax import (
    Binary,
    Call,
    Constant,
    Fact,
    Node,
    Ternary,
    Unary,
    parse_condition,
    walk,
)
from aprqa_ci.playbook.conditions.tokens import ConditionError
from aprqa_ci.wire import near_name

__all__ = ["Condition", "read_condition"]

_ORDER: tuple[Scope, ...] = ("scenario", "cell", "run")
_REPEATED = "reproducible"
"""The fact that ``run(seed=42) == run(seed=42)`` is asked of."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A condition that can be evaluated."""

    text: str
    tree: Node
    scope: Scope
    """What it is asked of: each scenario, each cell, or the run; the narrowest fact decides."""
    facts: tuple[str, ...]
    """The facts that it speaks of, sorted."""
    needs: tuple[str, ...]
    """What a plan must have for it to be judged, sorted; see ``data/facts.yaml``."""
    unoffered: tuple[str, ...]
    """Facts of it that nothing here records, sorted."""


def read_condition(text: str) -> Condition:
    """Read and check a condition.

    Raises:
        ConditionError: it does not follow the grammar, names something unknown, mixes types, or
            cannot come out either way because it speaks of no fact or compares a thing with itself.
    """
    tree = _with_repetition(parse_condition(text))
    kind = _type_of(tree)
    if kind != "boolean":
        what = f"gives {_article(kind)}; a condition is true or false"
        raise ConditionError(what, column=1)
    nodes = list(walk(tree))
    facts = {node.name for node in nodes if isinstance(node, Fact)}
    calls = {node.name for node in nodes if isinstance(node, Call)}
    known, functions = fact_catalogue(), function_catalogue()
    of_run = {name for name in calls if functions[name].of == "run"}
    if not facts | of_run:
        msg = "speaks of no recorded fact, so it shows nothing"
        raise ConditionError(msg, column=1)
    scopes = {known[name].of for name in facts} | {functions[name].of for name in of_run}
    needs = {need for name in facts for need in known[name].needs}
    needs |= {need for name in calls for need in functions[name].needs}
    return Condition(
        text=text,
        tree=tree,
        scope=next(scope for scope in _ORDER if scope in scopes),
        facts=tuple(sorted(facts)),
        needs=tuple(sorted(needs)),
        unoffered=tuple(sorted(name for name in facts if not known[name].offered)),
    )


def _with_repetition(tree: Node) -> Node:
    """Turn ``run(…) == run(…)`` into the fact that the repetition check records.

    Taken by its words it would compare one recorded answer with itself.
    """
    match tree:
        case Binary(sign="==", left=Call(name="run") as left, right=right) if left == right:
            return Fact(name=_REPEATED, column=left.column)
        case Binary():
            return Binary(
                sign=tree.sign,
                left=_with_repetition(tree.left),
                right=_with_repetition(tree.right),
                column=tree.column,
            )
        case Unary():
            operand = _with_repetition(tree.operand)
            return Unary(sign=tree.sign, operand=operand, column=tree.column)
        case Ternary():
            return Ternary(
                condition=_with_repetition(tree.condition),
                then=_with_repetition(tree.then),
                otherwise=_with_repetition(tree.otherwise),
                column=tree.column,
            )
        case _:
            return tree


def _type_of(node: Node) -> FactType:
    match node:
        case Constant(value=bool()):
            return "boolean"
        case Constant(value=str()):
            return "text"
        case Constant():
            return "number"
        case Fact():
            return _fact(node)
        case Call():
            return _call(node)
        case Unary():
            wanted: FactType = "boolean" if node.sign == "!" else "number"
            _require(node.operand, wanted, f"after {node.sign!r}")
            return wanted
        case Binary():
            return _binary(node)
        case Ternary():
            _require(node.condition, "boolean", "before '?'")
            kind = _type_of(node.then)
            _require(node.otherwise, kind, "after ':'")
            return kind


def _fact(node: Fact) -> FactType:
    entry = fact_catalogue().get(node.name)
    if entry is not None:
        return entry.type
    what = f"there is no fact {node.name!r}"
    if node.name in function_catalogue():
        what = f"{node.name!r} is a function"
    known = [*fact_catalogue(), *function_catalogue()]
    hint = near_name(node.name, known) or "`aprqa facts` lists what conditions may speak of"
    raise ConditionError(what, column=node.column, hint=hint)


def _call(node: Call) -> FactType:
    entry = function_catalogue().get(node.name)
    if entry is None:
        if node.name == "run":
            what = "run(…) can only be compared with the same run(…)"
            raise ConditionError(what, column=node.column)
        hint = near_name(node.name, list(function_catalogue()))
        what = f"there is no function {node.name!r}"
        raise ConditionError(what, column=node.column, hint=hint)
    if node.keywords or len(node.arguments) != len(entry.takes):
        what = f"{node.name} takes {', '.join(entry.takes)} and nothing else"
        raise ConditionError(what, column=node.column)
    for argument, wanted in zip(node.arguments, entry.takes, strict=True):
        _require(argument, "text", f"in {node.name}(…)")
        if wanted != "text" and not (isinstance(argument, Fact) and argument.name == wanted):
            what = f"{node.name} takes the fact {wanted!r} here"
            raise ConditionError(what, column=argument.column)
    return entry.gives


def _binary(node: Binary) -> FactType:
    around = f"beside {node.sign!r}"
    match node.sign:
        case "&&" | "||" | "=>":
            _require(node.left, "boolean", around)
            _require(node.right, "boolean", around)
            return "boolean"
        case "+" | "-" | "*" | "/":
            _require(node.left, "number", around)
            _require(node.right, "number", around)
            return "number"
        case _:
            return _comparison(node, around)


def _comparison(node: Binary, around: str) -> FactType:
    left = _type_of(node.left)
    if node.left == node.right:
        what = "compares a thing with itself, which shows nothing"
        raise ConditionError(what, column=node.column)
    if node.sign in {"<", "<=", ">", ">="}:
        _require(node.left, "number", around)
    elif (node.sign == "≈") != (left == "answers"):
        what = "'≈' compares answers, such as cpu_output with gpu_output, and nothing else does"
        raise ConditionError(what, column=node.column)
    _require(node.right, left, around)
    return "boolean"


def _require(node: Node, wanted: FactType, where: str) -> None:
    found = _type_of(node)
    if found != wanted:
        what = f"{_article(found)} stands {where}, where {_article(wanted)} is expected"
        raise ConditionError(what, column=node.column)


def _article(kind: FactType | Literal["answers"]) -> str:
    return {"boolean": "true or false", "answers": "answers"}.get(kind, f"a {kind}")
