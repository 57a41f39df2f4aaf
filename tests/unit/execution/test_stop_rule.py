from itertools import product

import pytest

from aprqa_ci.execution.stop_rule import StopRule, ends_run
from aprqa_ci.vocabulary import FailurePolicy, Outcome, Severity

FAILURES = {Outcome.FALSIFIED, Outcome.TIMEOUT, Outcome.CRASHED}
ENDING = (
    {
        (policy, outcome, severity)
        for policy in (FailurePolicy.STOP_ON_FIRST, FailurePolicy.FAIL_FAST)
        for outcome in FAILURES
        for severity in Severity
    }
    | {(FailurePolicy.STOP_ON_P0, outcome, Severity.P0) for outcome in FAILURES}
)  # fmt: skip
EVERY = list(product(FailurePolicy, Outcome, Severity))


@pytest.mark.parametrize(("policy", "outcome", "severity"), EVERY)
def test_what_ends_a_run(policy: FailurePolicy, outcome: Outcome, severity: Severity) -> None:
    ends = (policy, outcome, severity) in ENDING
    assert ends_run(policy, outcome, severity) is ends
    rule = StopRule(policy)
    rule.observe(outcome, severity)
    assert rule.ended is ends


@pytest.mark.parametrize("policy", FailurePolicy)
def test_a_rule_has_not_ended_before_anything_is_seen(policy: FailurePolicy) -> None:
    assert not StopRule(policy).ended


def test_good_news_does_not_take_back_an_end() -> None:
    rule = StopRule(FailurePolicy.STOP_ON_P0)
    rule.observe(Outcome.CRASHED, Severity.P1)
    assert not rule.ended
    rule.observe(Outcome.CRASHED, Severity.P0)
    rule.observe(Outcome.CORROBORATED, Severity.P0)
    assert rule.ended
