"""The verdict on a gate that a playbook defines: its condition, over all that it applies to.

The verdict is made of recorded facts each time the evidence is read, so nobody can write it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aprqa_ci.planning.plan import PlannedGate
from aprqa_ci.playbook.conditions.condition import Condition, read_condition
from aprqa_ci.playbook.conditions.evaluation import (
    Answers,
    Facts,
    Inapplicable,
    Missing,
    Value,
    evaluate,
)
from aprqa_ci.playbook.conditions.tokens import ConditionError
from aprqa_ci.scoring.agreement import alike
from aprqa_ci.scoring.recorded_facts import (
    CELL_FACTS,
    RUN_FACTS,
    SCENARIO_FACTS,
    CellView,
    RunView,
    ScenarioView,
)
from aprqa_ci.scoring.verification import verification_agrees, verification_similarity
from aprqa_ci.scoring.wording import counted, named
from aprqa_ci.vocabulary import Outcome

__all__ = ["GateVerdict", "judge_gate"]

NOT_JUDGED = "policy:not-judged"


@dataclass(frozen=True, kw_only=True)
class GateVerdict:
    """What came of one gate."""

    outcome: Outcome
    """Corroborated, Falsified, or Skipped when it could not be judged."""
    reason: str
    cause: str = ""
    """Of a skip: whose doing it was."""


def judge_gate(gate: PlannedGate, run: RunView) -> GateVerdict:
    """Judge one gate. Pure.

    A condition about prompts is asked of every planned prompt, one about cells of every cell, any
    other once. It is

    - Falsified where it is false anywhere;
    - Skipped where something that it applies to was not tried or a fact of it is missing, and where
      it applies to nothing: over no scenario at all, nothing has been shown;
    - Corroborated where it is true of everything that it applies to.
    """
    try:
        condition = read_condition(gate.condition)
    except ConditionError as error:
        # The playbook was checked; a plan that says something else was not made from it.
        return GateVerdict(
            outcome=Outcome.SKIPPED,
            reason=f"the condition cannot be read: {error.what}",
            cause=NOT_JUDGED,
        )
    holds, fails, missing, lacking = [], [], [], []
    for name, view in _subjects(condition, run):
        value = evaluate(condition.tree, view)
        if value is True:
            holds.append(name)
        elif value is False:
            fails.append(name)
        elif not isinstance(value, Inapplicable):
            missing.append(name)
            lacking.append(value.what if isinstance(value, Missing) else "a value")
    if fails:
        reason = f"does not hold in {len(fails)} of {len(fails) + len(holds)}: {named(fails)}"
        return GateVerdict(outcome=Outcome.FALSIFIED, reason=reason)
    if missing:
        reason = f"{counted(len(missing), 'case')} could not be judged ({named(lacking)} missing)"
        return GateVerdict(outcome=Outcome.SKIPPED, reason=reason, cause=NOT_JUDGED)
    if not holds:
        reason = f"it applies to nothing in this run: {gate.condition}"
        return GateVerdict(outcome=Outcome.SKIPPED, reason=reason, cause=NOT_JUDGED)
    reason = f"holds in all {len(holds)} that it applies to"
    return GateVerdict(outcome=Outcome.CORROBORATED, reason=reason)


def _subjects(condition: Condition, run: RunView) -> Iterator[tuple[str, "_View"]]:
    """Return what the condition is asked of, with the facts of each."""
    match condition.scope:
        case "scenario":
            for cell in run.views:
                for scenario in cell.prompts():
                    yield scenario.scenario.id, _View(run=run, cell=cell, scenario=scenario)
        case "cell":
            for cell in run.views:
                yield cell.cell.id, _View(run=run, cell=cell)
        case "run":
            yield run.playbook.name, _View(run=run)


class _View(Facts):
    """The facts of one subject."""

    def __init__(
        self, *, run: RunView, cell: CellView | None = None, scenario: ScenarioView | None = None
    ) -> None:
        self._run = run
        self._cell = cell
        self._scenario = scenario

    def fact(self, name: str) -> Value:
        if self._scenario is not None and name in SCENARIO_FACTS:
            return SCENARIO_FACTS[name](self._scenario)
        if self._cell is not None and name in CELL_FACTS:
            return CELL_FACTS[name](self._cell)
        if name in RUN_FACTS:
            return RUN_FACTS[name](self._run)
        return Missing(what=name)

    def call(self, name: str, arguments: tuple[str, ...]) -> Value:
        case = self._scenario.scenario.prompt if self._scenario is not None else None
        judge, text = self._run.judge, arguments[-1]
        match name:
            case "is_garbage":
                return judge.is_garbage(text)
            case "arithmetic_oracle" if case is not None:
                return judge.accepts("arithmetic", case, text)
            case "syntax_check" if case is not None:
                return judge.accepts("code_syntax", case, text)
            case "verification_agrees":
                return verification_agrees(self._run, text)
            case "verification_similarity":
                return verification_similarity(self._run, text)
            case "is_coherent" if case is not None:
                return judge.is_coherent(case, text)
        return Missing(what=name)

    def alike(self, left: Answers, right: Answers) -> Value:
        return alike(left, right)
