"""Answers that were held up, among all of a cell."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aprqa_ci.execution.checks.stalls import stalls
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.protocol import Answered

Say = Callable[..., Answered]
LIMITS = replace(load_limits(), stall_factor=10.0, stall_prompt_factor=4.0, stalls_allowed=1)


@pytest.mark.parametrize(
    ("late", "found"),
    [
        ({"duration_ms": 1000.1}, 2),
        # Ten times the usual, or the limit: both must be exceeded.
        ({"duration_ms": 1000.0}, 0),
        ({"duration_ms": 5000.0, "completion_tokens": 10, "prompt_tokens": 12}, 2),
        # Longer than what was measured, in or out.
        ({"duration_ms": 5000.0, "completion_tokens": 11}, 0),
        ({"duration_ms": 5000.0, "prompt_tokens": 13}, 0),
    ],
)
def test_held_up_is_what_is_late_by_far_and_no_longer(
    answered: Say, late: dict[str, Any], found: int
) -> None:
    answers = [answered()] * 20 + [answered(**late)] * 2
    assert len(stalls(answers, [answered()], 500.0, LIMITS)) == found


@pytest.mark.parametrize(("limit", "found"), [(1999.0, 2), (2000.0, 0)])
def test_the_limit_is_allowed_however_fast_the_others_are(
    answered: Say, limit: float, found: int
) -> None:
    answers = [answered(duration_ms=1.0)] * 20 + [answered(duration_ms=2000.0)] * 2
    assert len(stalls(answers, [answered()], limit, LIMITS)) == found


def test_one_may_be(answered: Say) -> None:
    answers = [answered()] * 20 + [answered(duration_ms=9000.0)]
    assert stalls(answers, [answered()], 500.0, LIMITS) == ()


def test_a_slow_engine_does_not_stall(answered: Say) -> None:
    assert stalls([answered(duration_ms=9000.0)] * 20, [answered()], 500.0, LIMITS) == ()


def test_where_no_answer_is_like_the_measured_ones_nothing_is_said(answered: Say) -> None:
    longer = [answered(completion_tokens=99, duration_ms=9000.0)] * 9
    assert stalls(longer, [answered()], 500.0, LIMITS) == ()
