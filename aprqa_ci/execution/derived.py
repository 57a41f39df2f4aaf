"""What one cell's outcomes together say: gateways G2, G3 and G4, and the baseline.

These gates have no test of their own. They are concluded from the cell's other scenarios, once,
when the cell has ended; what nothing was tried for is Skipped with its cause, never passed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb
from statistics import median
from typing import Literal

from aprqa_ci.execution.thresholds import Thresholds
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.baseline import BaselineCell
from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.vocabulary import Outcome

__all__ = ["CellResult", "DerivedFinding", "conclude_cell"]

_LOAD_GATE = "G1-LOAD"
_THROUGHPUT_GATE = "F-PERF-TPS-001"
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The outcome of one of the cell's scenarios, as far as conclusions need it."""

    scenario: str
    gate_id: str
    outcome: Outcome
    kind: Literal["", "garbage", "empty", "wrong", "engine-error"] = ""
    """Of a failed answer: what kind of failure."""
    crashed: bool = False
    """Whether a child process died by a signal while it ran."""
    cause: str = ""
    """Of a skip: whose doing it was, for example ``infrastructure:engine-missing``."""
    tokens_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class DerivedFinding:
    """What was concluded of one gate."""

    scenario: str
    """The planned scenario's id."""
    gate_id: str
    outcome: Outcome
    reason: str
    cause: str = ""
    """Of a skip: whose doing it was."""


def conclude_cell(
    cell: PlannedCell,
    results: Sequence[CellResult],
    baseline: BaselineCell | None,
    thresholds: Thresholds,
    *,
    died_closing: bool = False,
    like_before: bool = False,
) -> list[DerivedFinding]:
    """Conclude every derived gate that the cell's plan names, in plan order. Pure.

    - G2-BASIC: Falsified when a prompt ended in an engine error, or prompts were tried and none was
      answered with text; Skipped when none was tried.
    - G3-STABLE: Falsified when a child process died by a signal, be it while it ended; Skipped when
      nothing ran on the loaded model.
    - G4-GARBAGE: Falsified when more than ``garbage_share`` of all answers, empty ones included,
      were empty or garbage; Skipped when there was no answer.
    - F-REGR-BASELINE-001: Falsified when a scenario that the baseline shows as right fails now, or
      the throughput fell below ``baseline_throughput_ratio`` of the baseline's; Skipped when
      something that it compares was not tried.
    - F-REGR-LOSS-001: Falsified when more of the same questions were lost than won since the
      baseline than ``lost_answers`` or ``lost_answers_chance`` allow, or the throughput fell below
      ``collapsed_throughput_ratio`` of the baseline's; Skipped when something was not tried.

    Args:
        cell: the cell with its planned scenarios.
        results: one result per scenario that has ended, in any order.
        baseline: what the last accepted certificate shows of this cell, if there is one.
        thresholds: the limits.
        died_closing: whether the child process died by a signal when it was asked to end.
        like_before: whether revision, engine and kind of machine are the baseline's, so that greedy
            answers have no reason to differ.

    Raises:
        ValueError: a result is of a scenario that the cell does not have, or there are two of one.
    """
    planned = {scenario.id for scenario in cell.scenarios}
    by_scenario = {result.scenario: result for result in results}
    if len(by_scenario) != len(results) or not planned.issuperset(by_scenario):
        raise ValueError(f"results that are not those of {cell.id}")  # noqa: EM102 - names the cell
    view = _View(cell=cell, results=by_scenario, died_closing=died_closing)
    findings = []
    for scenario in cell.scenarios:
        conclusion: _Conclusion
        match scenario.gate_id:
            case "G2-BASIC":
                conclusion = _answers(view)
            case "G3-STABLE":
                conclusion = _stays_up(view)
            case "G4-GARBAGE":
                conclusion = _not_garbage(view, thresholds)
            case "F-REGR-BASELINE-001":
                conclusion = _no_worse(view, baseline, thresholds)
            case "F-REGR-LOSS-001":
                conclusion = _no_loss(view, baseline, thresholds, like_before=like_before)
            case _:
                continue
        findings.append(
            DerivedFinding(
                scenario=scenario.id,
                gate_id=scenario.gate_id,
                outcome=conclusion.outcome,
                reason=conclusion.reason,
                cause=conclusion.cause,
            )
        )
    return findings


@dataclass(frozen=True, kw_only=True)
class _Conclusion:
    outcome: Outcome
    reason: str
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class _View:
    """The cell's results, sorted by what conclusions ask for."""

    cell: PlannedCell
    results: Mapping[str, CellResult]
    died_closing: bool

    @property
    def prompts(self) -> list[CellResult]:
        """Results of prompts that were put to the model."""
        asked = {each.id for each in self.cell.scenarios if each.prompt is not None}
        return [
            result
            for result in self.results.values()
            if result.scenario in asked and result.outcome is not Outcome.SKIPPED
        ]

    @property
    def answers(self) -> list[CellResult]:
        """Results of prompts that came back, be it with nothing."""
        return [
            result
            for result in self.prompts
            if result.outcome in {Outcome.CORROBORATED, Outcome.FALSIFIED}
            and result.kind != "engine-error"
        ]

    @property
    def on_the_model(self) -> list[CellResult]:
        """Results of whatever ran on the loaded model."""
        return [
            result
            for result in self.results.values()
            if result.outcome is not Outcome.SKIPPED
            and result.gate_id != _LOAD_GATE
            and _made_by(result.gate_id) in {"prompt", "check"}
        ]

    def skipped(self, reason: str) -> _Conclusion:
        """Conclude nothing, for the cause that kept the cell from being tried."""
        # A gate of the files that could not be judged keeps nothing else from being tried.
        causes = sorted(
            {
                each.cause
                for each in self.results.values()
                if each.outcome is Outcome.SKIPPED and _made_by(each.gate_id) != "inspect"
            }
        )
        machine = [cause for cause in causes if cause.startswith("infrastructure")]
        loading = [each for each in self.results.values() if each.gate_id == _LOAD_GATE]
        if machine:
            cause = machine[0]
        elif any(each.outcome.is_failure for each in loading):
            cause = "model:not-loaded"
        else:
            cause = next((each for each in causes if each), "policy:not-tried")
        return _Conclusion(outcome=Outcome.SKIPPED, reason=f"{reason} ({cause})", cause=cause)


def _answers(view: _View) -> _Conclusion:
    if not view.prompts:
        return view.skipped("no prompt was put to the model")
    errors = [result.scenario for result in view.prompts if result.kind == "engine-error"]
    if errors:
        reason = f"{len(errors)} of {len(view.prompts)} prompts ended in an engine error: "
        return _Conclusion(outcome=Outcome.FALSIFIED, reason=reason + _some(errors))
    texts = [result for result in view.answers if result.kind != "empty"]
    if not texts:
        reason = f"none of {len(view.prompts)} prompts was answered with text"
        return _Conclusion(outcome=Outcome.FALSIFIED, reason=reason)
    reason = f"{len(texts)} of {len(view.prompts)} prompts answered, none with an engine error"
    return _Conclusion(outcome=Outcome.CORROBORATED, reason=reason)


def _stays_up(view: _View) -> _Conclusion:
    crashes = [
        result.scenario
        for result in view.results.values()
        if result.crashed or result.outcome is Outcome.CRASHED
    ]
    if crashes:
        reason = f"a child process died by a signal in {len(crashes)}: {_some(crashes)}"
        return _Conclusion(outcome=Outcome.FALSIFIED, reason=reason)
    if view.died_closing:
        reason = "the child process died by a signal when it was asked to end"
        return _Conclusion(outcome=Outcome.FALSIFIED, reason=reason)
    ran = len(view.on_the_model)
    if not ran:
        return view.skipped("nothing ran on the loaded model")
    reason = f"{ran} scenarios ran and no child process died by a signal"
    return _Conclusion(outcome=Outcome.CORROBORATED, reason=reason)


def _not_garbage(view: _View, thresholds: Thresholds) -> _Conclusion:
    answers = view.answers
    if not answers:
        return view.skipped("there was no answer to look at")
    bad = [result.scenario for result in answers if result.kind in {"garbage", "empty"}]
    # The decimal as it is written, not its nearest binary number: 3 of 10 is not more than 0.3.
    limit = Fraction(str(thresholds.garbage_share))
    reason = f"{len(bad)} of {len(answers)} answers were empty or garbage"
    if len(bad) > limit * len(answers):
        reason += f", more than {float(limit):.0%}: {_some(bad)}"
        return _Conclusion(outcome=Outcome.FALSIFIED, reason=reason)
    return _Conclusion(outcome=Outcome.CORROBORATED, reason=reason)


def _no_worse(view: _View, baseline: BaselineCell | None, thresholds: Thresholds) -> _Conclusion:
    if baseline is None:
        reason = "no accepted certificate shows anything of this cell"
        return _Conclusion(outcome=Outcome.SKIPPED, reason=reason, cause="policy:no-baseline")
    planned = {each.id for each in view.cell.scenarios if _made_by(each.gate_id) != "derived"}
    compared = [name for name in baseline.corroborated if name in planned]
    worse = [name for name in compared if _failed(view.results.get(name))]
    before = baseline.tokens_per_second
    now = _throughput(view)
    slower = ""
    if before is not None and now is not None:
        limit = before * thresholds.baseline_throughput_ratio
        if now < limit:
            slower = f"{now:.1f} tokens per second, {before:.1f} before"
    if worse or slower:
        found = [f"{len(worse)} were right before: {_some(worse)}"] if worse else []
        found += [slower] if slower else []
        return _Conclusion(outcome=Outcome.FALSIFIED, reason="; ".join(found))
    untried = [name for name in compared if _not_tried(view.results.get(name))]
    if untried:
        return view.skipped(f"{len(untried)} that were right before were not tried")
    if not compared:
        reason = "the accepted certificate and this plan have no scenario in common"
        return _Conclusion(outcome=Outcome.SKIPPED, reason=reason, cause="policy:no-baseline")
    if before is not None and now is None:
        return view.skipped("the throughput was measured before and was not now")
    reason = f"all {len(compared)} that were right before still are"
    if before is not None and now is not None:
        reason += f"; {now:.1f} tokens per second, {before:.1f} before"
    return _Conclusion(outcome=Outcome.CORROBORATED, reason=reason)


def _no_loss(
    view: _View, baseline: BaselineCell | None, thresholds: Thresholds, *, like_before: bool
) -> _Conclusion:
    if baseline is None:
        reason = "no accepted certificate shows anything of this cell"
        return _Conclusion(outcome=Outcome.SKIPPED, reason=reason, cause="policy:no-baseline")
    right = set(baseline.corroborated)
    asked = [each.id for each in view.cell.scenarios if each.prompt is not None]
    lost = [name for name in asked if name in right and _failed(view.results.get(name))]
    won = [
        name
        for name in asked
        if name not in right
        and name in view.results
        and view.results[name].outcome is Outcome.CORROBORATED
    ]
    said = f"of {len(asked)} questions {len(lost)} were lost and {len(won)} won"
    found = []
    chance = _chance_of_loss(len(lost), len(won))
    if like_before and len(lost) - len(won) >= thresholds.lost_answers:
        found.append(f"{said}, and nothing but the model can differ: {_some(lost)}")
    elif chance < thresholds.lost_answers_chance:
        found.append(f"{said}, which is {chance:.1g} likely by chance alone: {_some(lost)}")
    before, now = baseline.tokens_per_second, _throughput(view)
    if (
        before is not None
        and now is not None
        and now < before * thresholds.collapsed_throughput_ratio
    ):
        found.append(f"{now:.1f} tokens per second, {before:.1f} before")
    if found:
        return _Conclusion(outcome=Outcome.FALSIFIED, reason="; ".join(found))
    untried = [name for name in asked if name in right and _not_tried(view.results.get(name))]
    if untried:
        return view.skipped(f"{len(untried)} that were right before were not tried")
    if before is not None and now is None:
        return view.skipped("the throughput was measured before and was not now")
    return _Conclusion(outcome=Outcome.CORROBORATED, reason=said)


def _chance_of_loss(lost: int, won: int) -> float:
    """Return how likely so many losses or more are, each change being the toss of a coin.

    This is the one-sided sign test, which is McNemar's exact test of paired answers.
    """
    changes = lost + won
    worse = sum(comb(changes, each) for each in range(lost, changes + 1))
    return float(Fraction(worse, 2**changes))


def _made_by(gate_id: str) -> str:
    gate = gate_catalogue().get(gate_id)
    return "" if gate is None else gate.made_by


def _failed(result: CellResult | None) -> bool:
    return result is not None and result.outcome.is_failure


def _not_tried(result: CellResult | None) -> bool:
    return result is None or result.outcome is Outcome.SKIPPED


def _throughput(view: _View) -> float | None:
    speeds = [
        result.tokens_per_second
        for result in view.results.values()
        if result.gate_id == _THROUGHPUT_GATE and result.tokens_per_second is not None
    ]
    return median(speeds) if speeds else None


def _some(names: Sequence[str]) -> str:
    first = ", ".join(names[:_NAMED])
    rest = len(names) - _NAMED
    return first if rest <= 0 else f"{first} and {rest} more"
