"""Answers that were held up, among all that a cell gave.

The measured answers are few, and an engine that stalls now and then may stall at others. Those are
not timed alone, so an answer counts as held up only when it took longer than the limit *and* many
times as long as the cell's answers do.
"""

from collections.abc import Sequence
from statistics import median

from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.protocol import Answered

__all__ = ["stalls"]


def stalls(
    answers: Sequence[Answered],
    measured: Sequence[Answered],
    limit_ms: float,
    limits: Limits,
) -> tuple[Answered, ...]:
    """Return the answers that were held up; nothing where they are as few as chance makes. Pure.

    Args:
        answers: all that the cell gave.
        measured: those that the limit is about; longer ones are not held against it.
        limit_ms: how long an answer like the measured ones may take.
        limits: what counts as like them, as held up, and as few.
    """
    longest = max(each.completion_tokens for each in measured)
    prompt = limits.stall_prompt_factor * max(each.prompt_tokens for each in measured)
    alike = [
        each
        for each in answers
        if each.completion_tokens <= longest and each.prompt_tokens <= prompt
    ]
    if not alike:
        return ()
    usual = median(each.duration_ms for each in alike)
    held_up = tuple(
        each for each in alike if each.duration_ms > max(limit_ms, limits.stall_factor * usual)
    )
    return held_up if len(held_up) > limits.stalls_allowed else ()
