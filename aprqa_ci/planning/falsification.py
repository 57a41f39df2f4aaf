"""The gates that a playbook defines itself, as far as its plan has what they speak of."""

from collections.abc import Sequence
from dataclasses import dataclass

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.plan import PlannedCell, PlannedGate
from aprqa_ci.planning.verification import comparisons
from aprqa_ci.playbook.conditions.condition import Condition, read_condition
from aprqa_ci.playbook.conditions.evaluation import (
    Answers,
    Facts,
    Inapplicable,
    Missing,
    Value,
    evaluate,
)
from aprqa_ci.playbook.declared import FalsificationGate
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import Category

__all__ = ["OWN_GATE_PREFIX", "OwnGates", "category_of_gate", "planned_gates", "static_fact"]

OWN_GATE_PREFIX = "playbook:"
"""Stands before the id of a gate that a playbook defines, in plan and evidence."""

_SECTION = "falsification_gates"
_WORDS = {
    "QUAL": Category.QUAL,
    "PERF": Category.PERF,
    "STAB": Category.STAB,
    "COMP": Category.COMP,
    "EDGE": Category.EDGE,
    "REGR": Category.REGR,
    "HTTP": Category.STAB,
    "G1": Category.STAB,
    "G3": Category.STAB,
}
"""The category that a part of an id speaks for; every other gate is of QUAL."""


@dataclass(frozen=True, kw_only=True)
class OwnGates:
    """What became of a playbook's own gates."""

    gates: tuple[PlannedGate, ...]
    not_run: tuple[str, ...]
    """Paths of the gates that nothing in this plan can judge."""
    warnings: tuple[str, ...]
    """Why each of them cannot be judged."""


def planned_gates(playbook: Playbook, cells: Sequence[PlannedCell], *, baseline: bool) -> OwnGates:
    """Return the playbook's own gates that the plan can judge, and name the others.

    A verification test that compares formats is such a gate as well.

    Args:
        playbook: the playbook; its conditions were checked when it was loaded.
        cells: its cells in the plan.
        baseline: whether there is an accepted certificate to compare with.
    """
    catalogue = gate_catalogue()
    covered = {catalogue[each.gate_id].category for cell in cells for each in cell.scenarios}
    has = _offers(cells, baseline=baseline)
    gates, not_run, warnings = [], [], []
    for gate in playbook.falsification_gates or ():
        condition = read_condition(gate.condition)
        why = _obstacle(condition, cells, has)
        if why:
            not_run.append(f"{_SECTION}.{gate.id}")
            warnings.append(f"{_SECTION}.{gate.id} is not judged: {why}")
            continue
        category = category_of_gate(gate.id)
        gates.append(
            _planned(playbook.name, gate, category if category in covered else Category.QUAL)
        )
    for gate, why in comparisons(playbook, cells):
        if why:
            not_run.append(gate.id)
            warnings.append(f"{gate.id} is not compared: {why}")
        else:
            category = Category.COMP if Category.COMP in covered else Category.QUAL
            gates.append(_planned(playbook.name, gate, category))
    return OwnGates(gates=tuple(gates), not_run=tuple(not_run), warnings=tuple(warnings))


def category_of_gate(name: str) -> Category:
    """Return the category that a gate's id speaks for: ``F-PERF-001`` is of PERF."""
    words = name.upper().replace("_", "-").split("-")
    return next((_WORDS[word] for word in words if word in _WORDS), Category.QUAL)


def static_fact(cell: PlannedCell, name: str) -> str | None:
    """Return what is known of a cell before it has run, or nothing."""
    match name:
        case "modality":
            return str(cell.modality)
        case "backend":
            return str(cell.backend)
        case "format":
            return str(cell.format)
        case "quantization":
            return cell.quantization or "none"
        case _:
            return None


def _planned(playbook: str, gate: FalsificationGate, category: Category) -> PlannedGate:
    return PlannedGate(
        id=gate.id,
        scenario=f"{playbook}#{gate.id}",
        gate_id=f"{OWN_GATE_PREFIX}{gate.id}",
        category=category,
        severity=gate.severity,
        description=gate.description,
        condition=gate.condition,
    )


def _offers(cells: Sequence[PlannedCell], *, baseline: bool) -> set[str]:
    """Return what the plan has, in the words of ``needs`` in ``data/facts.yaml``."""
    has = {"baseline"} if baseline else set[str]()
    for cell in cells:
        has |= {str(cell.modality), str(cell.backend), str(cell.format)}
        if cell.quantization is not None:
            has.add("quantized")
        for scenario in cell.scenarios:
            has.add(scenario.gate_id)
            if scenario.prompt is not None:
                has.add(f"oracle:{scenario.prompt.oracle.kind}")
    return has


def _obstacle(condition: Condition, cells: Sequence[PlannedCell], has: set[str]) -> str:
    """Say why nothing in the plan can judge the condition; empty when something can."""
    if condition.unoffered:
        return f"nothing here records {', '.join(condition.unoffered)}"
    lacking = [need for need in condition.needs if need not in has]
    if lacking:
        return f"this plan has no {', '.join(lacking)}"
    views = [evaluate(condition.tree, _Static(cell)) for cell in cells]
    if condition.scope != "run" and all(isinstance(view, Inapplicable) for view in views):
        return "it applies to no cell of this plan"
    return ""


class _Static(Facts):
    """A cell before it has run: its frame is known and nothing else."""

    def __init__(self, cell: PlannedCell) -> None:
        self._cell = cell

    def fact(self, name: str) -> Value:
        return static_fact(self._cell, name) or Missing(what=name)

    def call(self, name: str, arguments: tuple[str, ...]) -> Value:  # noqa: ARG002 - the interface
        return Missing(what=name)

    def alike(self, left: Answers, right: Answers) -> Value:  # noqa: ARG002 - the interface
        return Missing(what="answers")
