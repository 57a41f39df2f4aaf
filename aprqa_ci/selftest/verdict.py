"""Whether a mutant was killed: a pure function of what was expected and what came."""

from collections.abc import Sequence

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.selftest.falsification import JudgedMutant, Verdict
from aprqa_ci.selftest.mutants import Sample
from aprqa_ci.selftest.trial import Caught, TrialResult
from aprqa_ci.vocabulary import Status

__all__ = ["as_expected", "judge"]

_NOT_CERTIFIED = frozenset({Status.BLOCKED, Status.INCONCLUSIVE})


def as_expected(caught: str, expected: Sequence[str]) -> bool:
    """Say whether a gate, or the cause of a skip, is one of those that were expected.

    Args:
        caught: a gate id or a cause.
        expected: gate ids, gateways, categories and causes.
    """
    if caught in expected:
        return True
    gate = gate_catalogue().get(caught)
    return gate is not None and gate.counts_for in expected


def judge(sample: Sample, result: TrialResult) -> JudgedMutant:
    """Return the verdict on a mutant.

    It is killed when the pipeline came to a certificate that is BLOCKED or INCONCLUSIVE, and one of
    the expected gates is among those that failed. PROVISIONAL is a good result, and so no death.
    """
    right = [each for each in result.caught if as_expected(each.gate, sample.mutant.expect)]
    verdict, reason = _verdict(result, right)
    return JudgedMutant(
        id=sample.id,
        class_=sample.mutant.class_,
        meaning=sample.mutant.meaning,
        parameters=dict(sample.parameters),
        expected=sample.mutant.expect,
        caught_by=tuple(each.gate for each in result.caught),
        status=result.status,
        mqs=result.mqs,
        verdict=verdict,
        reason=reason,
        held_out=sample.held_out,
        seconds=result.seconds,
    )


def _verdict(result: TrialResult, right: Sequence[Caught]) -> tuple[Verdict, str]:
    if result.status is None:
        return "survived", result.lack
    if result.status in _NOT_CERTIFIED:
        if right:
            return "killed", f"{right[0].gate}: {right[0].reason}"
        others = ", ".join(each.gate for each in result.caught)
        return "survived", f"caught, and by others than expected: {others or 'no gate'}"
    if result.proof:
        return "equivalent", result.proof
    seen = "; ".join(f"{each.gate}: {each.reason}" for each in result.caught)
    said = f"; seen by {seen}" if seen else "; no gate saw anything"
    return "survived", f"{result.status} with {result.mqs} points{said}"
