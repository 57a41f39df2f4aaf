"""The part of a certificate that is about the gates that the playbook defines."""

from aprqa_ci.scoring.score import Score
from aprqa_ci.vocabulary import Category, Outcome, Severity
from aprqa_ci.wire import WireModel

__all__ = ["CertifiedGate", "certified_gates"]


class CertifiedGate(WireModel, frozen=True, kw_only=True):
    """A gate that the playbook defines, and what came of it."""

    id: str
    """What the playbook calls it; in the evidence ``playbook:`` stands before it."""
    category: Category
    severity: Severity
    description: str
    condition: str
    outcome: Outcome
    """Skipped where it could not be judged."""
    reason: str


def certified_gates(score: Score) -> tuple[CertifiedGate, ...]:
    """Return what came of each gate that the playbook defines, in its order."""
    return tuple(
        CertifiedGate(
            id=entry.own_gate.id,
            category=entry.own_gate.category,
            severity=entry.own_gate.severity,
            description=entry.own_gate.description,
            condition=entry.own_gate.condition,
            outcome=entry.outcome,
            reason=entry.reason,
        )
        for entry in score.scenarios
        if entry.own_gate is not None and entry.outcome is not None
    )
