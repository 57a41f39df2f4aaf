"""The formula of the existing tool, number for number (policy ``apr-qa-0``).

It is here so that its evidence, and certificates that were given by it, can be compared. It credits
categories that were never tested with all their points, counts a skip as a pass, and passes a
gateway that nothing speaks of; so it shows a number and certifies nothing.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import structs

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.scoring.ledger import Ledger, record_ledger
from aprqa_ci.scoring.policies import ReferencePolicy
from aprqa_ci.scoring.score import CategoryScore, GatewayResult, Penalty, Tally
from aprqa_ci.scoring.share_policy import Points
from aprqa_ci.scoring.wording import brief
from aprqa_ci.vocabulary import Category, Gateway, GatewayState, Outcome

__all__ = [
    "category_of",
    "normalised_score",
    "reference_gateways",
    "reference_ledger",
    "reference_points",
]


def category_of(gate_id: str, policy: ReferencePolicy) -> Category:
    """Return the category that the existing tool counts a gate id for; every id has one."""
    for prefix, category in policy.prefixes.items():
        if gate_id.startswith(prefix):
            return category
    second = [*gate_id.split("-"), ""][1].upper()
    return Category(second) if second in Category.__members__ else policy.otherwise


def reference_ledger(records: Iterable[EvidenceRecord], policy: ReferencePolicy) -> Ledger:
    """Take every record for itself: the existing tool knows no plan and no scenario twice."""
    run = record_ledger(records)
    scenarios = tuple(
        structs.replace(
            entry,
            gateway=None,
            category=category_of(entry.gate_id, policy),
            earned=entry.outcome in {Outcome.CORROBORATED, Outcome.SKIPPED},
        )
        for entry in run.scenarios
    )
    return dataclasses.replace(run, scenarios=scenarios)


def reference_gateways(
    records: Sequence[EvidenceRecord], policy: ReferencePolicy
) -> dict[Gateway, GatewayResult]:
    """Return the gateways as the existing tool sees them: passed unless something fails them."""

    def failing(matches: Callable[[str], bool]) -> list[EvidenceRecord]:
        return [
            record for record in records if record.outcome.is_failure and matches(record.gate_id)
        ]

    garbage = failing(lambda gate_id: "G4" in gate_id)
    return {
        gateway: _gateway(gateway, failures)
        for gateway, failures in {
            Gateway.G0: failing(lambda gate_id: gate_id.startswith("G0-INTEGRITY")),
            Gateway.G1: failing(lambda gate_id: "G1" in gate_id),
            Gateway.G2: failing(lambda gate_id: "G2" in gate_id),
            Gateway.G3: [record for record in records if record.outcome is Outcome.CRASHED],
            Gateway.G4: garbage if len(garbage) > len(records) // policy.garbage_divisor else [],
        }.items()
    }


def reference_points(ledger: Ledger, policy: ReferencePolicy) -> Points:
    """Return the points of all records.

    A category earns round(passed / total · weight), halves away from zero, in binary64 with the
    ratio taken first; without a record it earns its whole weight. Passed means Corroborated or
    Skipped.
    """
    categories = {}
    for name in Category:
        entries = ledger.by_category(name)
        weight = policy.weights[name]
        passed = sum(entry.earned for entry in entries)
        points = _round(passed / len(entries) * weight) if entries else weight
        categories[name] = CategoryScore(
            category=name,
            tally=Tally.of(entries),
            weight=weight,
            points=float(points),
            maximum=float(weight),
            credited=not entries,
        )
    penalties = tuple(_penalties(ledger, policy))
    subtotal = int(sum(category.points for category in categories.values()))
    raw = max(0, subtotal - sum(penalty.points for penalty in penalties))
    return Points(categories=categories, penalties=penalties, subtotal=subtotal, raw=raw)


def normalised_score(raw: int) -> float:
    """Return 100 · ln(1 + 9 · raw/1000) / ln 10, within 0 and 100."""
    return min(100.0, max(0.0, 100.0 * math.log(1 + 9 * (raw / 1000)) / math.log(10)))


def _penalties(ledger: Ledger, policy: ReferencePolicy) -> Iterator[Penalty]:
    for entry in ledger.scenarios:
        if entry.outcome is Outcome.CRASHED:
            yield Penalty(code="CRASH", points=policy.crash_penalty, scenario=entry.scenario)
        elif entry.outcome is Outcome.TIMEOUT:
            yield Penalty(code="TIMEOUT", points=policy.timeout_penalty, scenario=entry.scenario)


def _gateway(gateway: Gateway, failures: Sequence[EvidenceRecord]) -> GatewayResult:
    credited = "no record fails it; under this policy that passes, tested or not"
    reasons = [f"{entry.gate_id} {entry.outcome}: {brief(entry.reason)}" for entry in failures]
    return GatewayResult(
        gateway=gateway,
        state=GatewayState.FAILED if failures else GatewayState.PASSED,
        reasons=tuple(reasons) or (credited,),
        records=tuple(record.id for record in failures),
    )


def _round(points: float) -> int:
    """Round to whole points, halves up; Python's own ``round`` takes halves to even."""
    return math.floor(points + 0.5)
