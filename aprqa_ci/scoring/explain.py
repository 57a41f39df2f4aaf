"""The explanation: every point won and lost, in lines that add up to the score."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from aprqa_ci.scoring.score import Score
from aprqa_ci.scoring.wording import counted, named
from aprqa_ci.vocabulary import Category, GatewayState

__all__ = ["ExplainLine", "explain"]


@dataclass(frozen=True, kw_only=True)
class ExplainLine:
    """One step on the way from nothing to the score."""

    kind: Literal["available", "lost", "rounding", "penalty", "floor", "gateway", "flaky"]
    points: Fraction
    """Points won (positive) or lost (negative), exact."""
    text: str
    category: Category | None = None
    scenario: str | None = None
    gate_id: str | None = None
    outcome: str | None = None
    """The outcome's word, or ``missing``."""


def explain(score: Score) -> list[ExplainLine]:
    """Return every point won and lost; the points of all lines add up to ``score.mqs`` exactly.

    First what each category could earn, then what each scenario of it lost, the rounding, the
    penalties, and what a failed gateway took. Flaky scenarios are named last; what they lost is
    already told.
    """
    lines = list(_categories(score))
    exact = sum((line.points for line in lines), start=Fraction(0))
    if rounding := score.subtotal - exact:
        lines.append(ExplainLine(kind="rounding", points=rounding, text="rounding"))
    taken = 0
    for penalty in score.penalties:
        taken += penalty.points
        lines.append(
            ExplainLine(
                kind="penalty",
                points=Fraction(-penalty.points),
                text=f"penalty {penalty.code} for {penalty.scenario}",
                scenario=penalty.scenario,
                outcome=penalty.code,
            )
        )
    if given := score.raw - (score.subtotal - taken):
        lines.append(
            ExplainLine(kind="floor", points=Fraction(given), text="a score is never below 0")
        )
    if zeroed := score.mqs - score.raw:
        failed = [
            str(entry.gateway)
            for entry in score.gateways.values()
            if entry.state is GatewayState.FAILED
        ]
        text = f"failed {named(failed)}: the score is 0"
        lines.append(ExplainLine(kind="gateway", points=Fraction(zeroed), text=text))
    lines += [
        ExplainLine(
            kind="flaky",
            points=Fraction(0),
            text=f"flaky: {entry.scenario}: {entry.ends_text}",
            scenario=entry.scenario,
        )
        for entry in score.flaky
    ]
    return lines


def _categories(score: Score) -> Iterator[ExplainLine]:
    whole = sum(entry.weight for entry in score.categories.values() if entry.counts)
    for name, category in score.categories.items():
        if not category.counts:
            continue
        maximum = Fraction(1000 * category.weight, whole)
        planned = category.tally.planned
        text = f"{name}: {counted(planned, 'scenario')}"
        if category.credited:
            text = f"{name}: never tested, credited all the same"
        yield ExplainLine(kind="available", points=maximum, text=text, category=name)
        for entry in score.scenarios:
            if entry.category is name and not entry.earned:
                yield ExplainLine(
                    kind="lost",
                    points=-maximum / planned,
                    text=f"{entry.scenario} {entry.gate_id} {entry.outcome_text}: {entry.reason}",
                    category=name,
                    scenario=entry.scenario,
                    gate_id=entry.gate_id,
                    outcome=entry.outcome_text,
                )
