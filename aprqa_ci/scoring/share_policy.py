"""The formula ``planned-share``: each category earns the share of its plan that was shown right."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from aprqa_ci.scoring.ledger import Ledger
from aprqa_ci.scoring.policies import SharePolicy
from aprqa_ci.scoring.score import CategoryScore, Penalty, Tally
from aprqa_ci.vocabulary import Category, Outcome

__all__ = ["Points", "share_points"]


@dataclass(frozen=True, kw_only=True)
class Points:
    """The arithmetic of one score, before the gateways."""

    categories: Mapping[Category, CategoryScore]
    penalties: tuple[Penalty, ...]
    subtotal: int
    """The categories' points together, rounded."""
    raw: int
    """The subtotal less the penalties, at least 0."""


def share_points(ledger: Ledger, policy: SharePolicy) -> Points:
    """Return the points of a run under a ``planned-share`` policy.

    With w the weight of a category and W the weights of all categories that have scenarios, a
    category earns 1000 · w/W · corroborated/planned. The sum is exact (fractions) and rounded
    down once, so that no score reaches a limit that its evidence does not reach. Each scenario that
    timed out takes ``timeout_penalty`` points more; the result is at least 0.
    """
    tallies = {name: Tally.of(ledger.by_category(name)) for name in Category}
    whole = sum(policy.weights[name] for name in Category if tallies[name].planned)
    categories = {}
    total = Fraction(0)
    for name, tally in tallies.items():
        maximum = Fraction(1000 * policy.weights[name], whole) if tally.planned else Fraction(0)
        points = maximum * Fraction(tally.corroborated, tally.planned or 1)
        total += points
        categories[name] = CategoryScore(
            category=name,
            tally=tally,
            weight=policy.weights[name],
            points=float(points),
            maximum=float(maximum),
        )
    penalties = tuple(
        Penalty(code="TIMEOUT", points=policy.timeout_penalty, scenario=entry.scenario)
        for entry in ledger.scenarios
        if entry.outcome is Outcome.TIMEOUT and policy.timeout_penalty
    )
    subtotal = floor(total)
    raw = max(0, subtotal - sum(penalty.points for penalty in penalties))
    return Points(categories=categories, penalties=penalties, subtotal=subtotal, raw=raw)
