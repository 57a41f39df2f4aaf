"""The short form of a score, for programs."""

from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import Category, Gateway, GatewayState, Status
from aprqa_ci.wire import WireModel

__all__ = ["ScoreSummary", "summary_of"]


class CategoryCounts(WireModel, frozen=True, kw_only=True):
    """What a category's points are made of."""

    maximum: float
    planned: int
    corroborated: int
    falsified: int
    timeout: int
    crashed: int
    skipped: int
    missing: int


class ScoreSummary(WireModel, frozen=True, kw_only=True):
    """What ``aprqa score --json`` prints."""

    schema: str = "aprqa-score/1"
    model_id: str
    playbook: str | None
    policy: str
    mqs: int
    grade: str
    status: Status
    certified_tier: str
    normalised: float | None
    """The logarithmic score of the existing tool; only under its policy."""
    gateways: dict[Gateway, GatewayState]
    gateway_reasons: dict[Gateway, tuple[str, ...]]
    categories: dict[Category, float]
    """The points of each category."""
    category_counts: dict[Category, CategoryCounts]
    penalties: dict[str, int]
    """Points taken away, by code."""
    pass_rate: float | None
    pass_rate_interval: tuple[float | None, float | None]
    """The 95 % Wilson interval."""
    missing: tuple[str, ...]
    flaky: dict[str, tuple[str, ...]]
    """The outcomes of each scenario whose attempts ended in different ways, by run and attempt."""
    obstacles: tuple[str, ...]
    findings: tuple[str, ...]


def summary_of(score: Score) -> ScoreSummary:
    """Return the short form of a score. Pure."""
    penalties: dict[str, int] = {}
    for penalty in score.penalties:
        penalties[penalty.code] = penalties.get(penalty.code, 0) + penalty.points
    return ScoreSummary(
        model_id=score.model_id,
        playbook=score.playbook,
        policy=score.policy,
        mqs=score.mqs,
        grade=score.grade,
        status=score.status,
        certified_tier=score.certified_tier,
        normalised=score.normalised,
        gateways={name: entry.state for name, entry in score.gateways.items()},
        gateway_reasons={name: tuple(entry.reasons) for name, entry in score.gateways.items()},
        categories={name: _number(entry.points) for name, entry in score.categories.items()},
        category_counts={
            name: CategoryCounts(
                maximum=_number(entry.maximum),
                planned=entry.tally.planned,
                corroborated=entry.tally.corroborated,
                falsified=entry.tally.falsified,
                timeout=entry.tally.timeout,
                crashed=entry.tally.crashed,
                skipped=entry.tally.skipped,
                missing=entry.tally.missing,
            )
            for name, entry in score.categories.items()
        },
        penalties=penalties,
        pass_rate=score.pass_rate.rate,
        pass_rate_interval=(score.pass_rate.low, score.pass_rate.high),
        missing=tuple(score.coverage.missing),
        flaky={
            each.scenario: tuple(end.outcome.value for end in each.ends) for each in score.flaky
        },
        obstacles=tuple(score.obstacles),
        findings=tuple(finding.text for finding in score.findings),
    )


def _number(value: float) -> float:
    return round(float(value), 3)
