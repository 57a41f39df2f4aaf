"""Speed: throughput, time to the first token, and the time of a whole answer."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from statistics import median

import msgspec

from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.checks.stalls import stalls
from aprqa_ci.execution.protocol import Answered, Profiled
from aprqa_ci.execution.result import Cause, Metrics
from aprqa_ci.vocabulary import Outcome

__all__ = ["first_token", "p50", "p99", "percentile", "throughput"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value with ``share`` of all at or below.

    Args:
        values: at least one value.
        share: between 0 and 1.
    """
    ordered = sorted(values)
    # The decimal as it is written, not its nearest binary number.
    rank = ceil(Fraction(str(share)) * len(ordered))
    return ordered[max(1, rank) - 1]


def _timed_answers(
    cell: OpenCell, *, max_tokens: int | None = None
) -> Sequence[Answered] | Finding:
    case = cell.playbook.measured_prompt
    if case is None:
        return Finding(
            outcome=Outcome.SKIPPED,
            reason="the plan names no prompt to measure",
            figures={},
            cause=Cause(kind="infrastructure", word="nothing-to-measure"),
        )
    if max_tokens is not None:
        case = msgspec.structs.replace(case, max_tokens=max_tokens)
    answers: list[Answered] = []
    with cell.timed_alone():
        for index in range(cell.playbook.warmup + cell.playbook.measure):
            reply = cell.ask(case)
            if not isinstance(reply, Answered):
                return unanswered(reply)
            if index >= cell.playbook.warmup:
                answers.append(reply)
    return answers


def _performance(
    figure: str,
    unit: str,
    limit_name: str,
    reduce: Callable[[Sequence[Answered]], float | None],
    claimed: Callable[[Profiled], float | None] = lambda _: None,
) -> Callable[[OpenCell], Finding]:
    at_least = limit_name.startswith("min_")

    def check(cell: OpenCell) -> Finding:
        answers = cell.measured(lambda: _timed_answers(cell))
        if isinstance(answers, Finding):
            return answers
        limit: float = getattr(
            cell.playbook.limits(cell.cell.backend, cell.cell.format), limit_name
        )
        value = reduce(answers)
        rounds = 1
        most = cell.limits.speed_rounds if at_least else 1
        while value is not None and value < limit and rounds < most:
            again = _timed_answers(cell)
            if isinstance(again, Finding):
                return again
            rounds += 1
            better = reduce(again)
            if better is not None and better > value:
                answers, value = again, better
        figures: dict[str, object] = {
            figure: value,
            limit_name: limit,
            "durations_ms": [round(answer.duration_ms, 3) for answer in answers],
            "tokens": [answer.completion_tokens for answer in answers],
        }
        said = f"; the best of {rounds} rounds" if rounds > 1 else ""
        if value is None and figure == "first_token" and _all_have_tokens(answers):
            # There were tokens; when they came, an engine that does not stream shows nobody.
            shortest = _timed_answers(cell, max_tokens=1)
            if isinstance(shortest, Finding):
                return shortest
            if not _all_have_tokens(shortest):
                return Finding(
                    outcome=Outcome.SKIPPED,
                    reason=f"{figure} could not be measured: the engine does not show it",
                    figures=figures,
                    cause=Cause(kind="infrastructure", word="not-offered"),
                )
            value = median(answer.duration_ms for answer in shortest)
            figures |= {
                figure: value,
                "durations_ms": [round(answer.duration_ms, 3) for answer in shortest],
                "tokens": [answer.completion_tokens for answer in shortest],
            }
            said = "; the engine does not stream: a whole answer of one token, which is no sooner"
        if value is None:
            return Finding(
                outcome=Outcome.FALSIFIED,
                reason=f"{figure} could not be measured: no token was generated",
                figures=figures,
            )
        values = [value]
        profile = cell.profiled()
        if isinstance(profile, str):
            said += f"; {profile}"
        elif profile is not None and (own := claimed(profile)) is not None:
            # The engine's word on itself is held to the limit too, and replaces nothing.
            values.append(own)
            said += f"; {profile.tool} says {own:.1f} {unit} of itself"
            figures["profile"] = {figure: own, "by": profile.tool, "call": profile.invocation}
        holds = all(each >= limit if at_least else each <= limit for each in values)
        sign = "≥" if at_least else "≤"
        return Finding(
            outcome=Outcome.CORROBORATED if holds else Outcome.FALSIFIED,
            reason=f"{value:.1f} {unit}; the limit is {sign} {limit:g} {unit}{said}",
            figures=figures,
            metrics=Metrics(
                tokens_per_second=_throughput(answers),
                time_to_first_token_ms=_first_token(answers),
                total_tokens=sum(answer.completion_tokens for answer in answers),
                memory_peak_mb=max(answer.memory_peak_mb for answer in answers),
                duration_ms=sum(answer.duration_ms for answer in answers),
            ),
        )

    return check


def _all_have_tokens(answers: Sequence[Answered]) -> bool:
    return all(answer.completion_tokens > 0 for answer in answers)


def _throughput(answers: Sequence[Answered]) -> float | None:
    rates = [
        answer.completion_tokens / answer.duration_ms * 1000
        for answer in answers
        if answer.duration_ms > 0 and answer.completion_tokens > 0
    ]
    return median(rates) if len(rates) == len(answers) and rates else None


def _first_token(answers: Sequence[Answered]) -> float | None:
    times = [
        answer.time_to_first_token_ms
        for answer in answers
        if answer.time_to_first_token_ms is not None
    ]
    return median(times) if times else None


throughput = _performance(
    "throughput",
    "tok/s",
    "min_throughput",
    _throughput,
    lambda profile: profile.tokens_per_second,
)
first_token = _performance("first_token", "ms", "max_ttft_ms", _first_token)
p50 = _performance(
    "p50",
    "ms",
    "max_p50_ms",
    lambda answers: median(answer.duration_ms for answer in answers),
    lambda profile: profile.p50_ms,
)
_measured_p99 = _performance(
    "p99",
    "ms",
    "max_p99_ms",
    lambda answers: percentile([answer.duration_ms for answer in answers], 0.99),
    lambda profile: profile.p99_ms,
)


def p99(cell: OpenCell) -> Finding:
    """The 99th percentile of the measured answers; and of all answers hardly one was held up."""
    found = _measured_p99(cell)
    answers = cell.measured(lambda: _timed_answers(cell))
    if found.outcome is not Outcome.CORROBORATED or isinstance(answers, Finding):
        return found
    limit = cell.playbook.limits(cell.cell.backend, cell.cell.format).max_p99_ms
    held_up = stalls(cell.answers, answers, limit, cell.limits)
    if not held_up:
        return found
    longest = max(each.duration_ms for each in held_up)
    return replace(
        found,
        outcome=Outcome.FALSIFIED,
        reason=f"{len(held_up)} of {len(cell.answers)} answers were held up, one for"
        f" {longest:.0f} ms; the limit is ≤ {limit:g} ms; {found.reason} of the measured ones",
        figures={**found.figures, "held_up_ms": [round(each.duration_ms, 3) for each in held_up]},
    )
