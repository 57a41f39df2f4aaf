import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aprqa_ci.execution.checks import CHECKS
from aprqa_ci.execution.checks.performance import percentile
from aprqa_ci.execution.protocol import Answered, Profiled, Reply
from aprqa_ci.planning.plan import PerformanceLimits, PromptCase
from aprqa_ci.vocabulary import Backend, Outcome
from tests.cells import playbook_of

GATES = ("F-PERF-TPS-001", "F-PERF-TTFT-001", "F-PERF-P50-001", "F-PERF-P99-001")
# Ten tokens in 100 ms are 100 tokens per second.
MET = {"min_throughput": 100.0, "max_ttft_ms": 5.0, "max_p50_ms": 100.0, "max_p99_ms": 100.0}


def _playbook(**limits: float) -> Any:
    return playbook_of(
        performance={Backend.CPU: PerformanceLimits(**{**MET, **limits})}, warmup=2, measure=3
    )


@pytest.mark.parametrize("gate", GATES)
def test_a_figure_exactly_at_its_limit_holds(scripted: Any, gate: str) -> None:
    finding = CHECKS[gate](scripted(playbook=_playbook()))
    assert finding.outcome is Outcome.CORROBORATED
    assert finding.metrics.tokens_per_second == 100.0
    assert finding.metrics.total_tokens == 30
    assert finding.metrics.memory_peak_mb == 60
    assert finding.metrics.duration_ms == 300.0


@pytest.mark.parametrize(
    ("gate", "limit", "value"),
    [
        ("F-PERF-TPS-001", "min_throughput", 100.1),
        ("F-PERF-TTFT-001", "max_ttft_ms", 4.9),
        ("F-PERF-P50-001", "max_p50_ms", 99.9),
        ("F-PERF-P99-001", "max_p99_ms", 99.9),
    ],
)
def test_a_figure_beyond_its_limit_fails_and_no_other_does(
    scripted: Any, gate: str, limit: str, value: float
) -> None:
    cell = scripted(playbook=_playbook(**{limit: value}))
    outcomes = {each: CHECKS[each](cell).outcome for each in GATES}
    assert outcomes.pop(gate) is Outcome.FALSIFIED
    assert set(outcomes.values()) == {Outcome.CORROBORATED}


def test_the_answers_are_measured_once_alone_and_without_the_warmup(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    slow_first = [answered(duration_ms=1e6), answered(duration_ms=1e6)]
    cell = scripted(
        lambda number, _case: slow_first[number] if number < 2 else answered(),
        playbook=_playbook(),
    )
    findings = [CHECKS[gate](cell) for gate in GATES]
    assert {finding.outcome for finding in findings} == {Outcome.CORROBORATED}
    assert len(cell.asked) == 5
    assert all(cell.asked_alone)
    assert findings[0].figures["durations_ms"] == [100.0] * 3


def test_the_median_is_judged_and_the_99th_percentile_sees_the_worst(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    durations = [0, 0, 100.0, 400.0, 100.0]
    cell = scripted(
        lambda number, _case: answered(duration_ms=durations[number]), playbook=_playbook()
    )
    assert CHECKS["F-PERF-P50-001"](cell).outcome is Outcome.CORROBORATED
    worst = CHECKS["F-PERF-P99-001"](cell)
    assert worst.outcome is Outcome.FALSIFIED
    assert worst.figures["p99"] == 400.0


# Rounds of five answers, the first two of each for warming up; 100 ms are the limit.
@pytest.mark.parametrize(
    ("rounds", "asked", "outcome"),
    [
        ([100], 5, Outcome.CORROBORATED),
        ([250, 100], 10, Outcome.CORROBORATED),
        ([250, 400, 80], 15, Outcome.CORROBORATED),
        ([400, 200, 250, 80], 15, Outcome.FALSIFIED),
    ],
)
def test_a_throughput_below_its_limit_is_measured_again_and_the_best_counts(
    scripted: Any,
    answered: Callable[..., Answered],
    rounds: list[float],
    asked: int,
    outcome: Outcome,
) -> None:
    cell = scripted(
        lambda number, _case: answered(duration_ms=rounds[number // 5]), playbook=_playbook()
    )
    finding = CHECKS["F-PERF-TPS-001"](cell)
    assert (finding.outcome, len(cell.asked)) == (outcome, asked)
    counted = len(rounds[:3])
    assert finding.figures["throughput"] == 10_000 / min(rounds[:3])
    assert (f"the best of {counted} rounds" in finding.reason) == (counted > 1)
    assert finding.metrics.tokens_per_second == pytest.approx(finding.figures["throughput"])
    assert all(cell.asked_alone)


def test_what_is_below_a_limit_from_above_is_not_measured_again(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    cell = scripted(lambda *_: answered(duration_ms=50.0), playbook=_playbook())
    assert CHECKS["F-PERF-P50-001"](cell).outcome is Outcome.CORROBORATED
    assert len(cell.asked) == 5


def test_a_round_that_fails_ends_the_measurement(
    scripted: Any, answered: Callable[..., Answered], no_answer: tuple[Reply, str]
) -> None:
    reply, text = no_answer
    cell = scripted(
        lambda number, _case: answered(duration_ms=900.0) if number < 7 else reply,
        playbook=_playbook(),
    )
    finding = CHECKS["F-PERF-TPS-001"](cell)
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason


@pytest.mark.parametrize(
    ("held_up", "outcome"),
    [(0, Outcome.CORROBORATED), (1, Outcome.CORROBORATED), (2, Outcome.FALSIFIED)],
)
def test_answers_that_were_held_up_elsewhere_fail_the_99th_percentile(
    scripted: Any, answered: Callable[..., Answered], held_up: int, outcome: Outcome
) -> None:
    cell = scripted(playbook=_playbook())
    cell.answers = [answered()] * 30 + [answered(duration_ms=1001.0)] * held_up
    finding = CHECKS["F-PERF-P99-001"](cell)
    assert finding.outcome is outcome
    assert CHECKS["F-PERF-P50-001"](cell).outcome is Outcome.CORROBORATED
    if outcome is Outcome.FALSIFIED:
        assert "2 of 32 answers were held up, one for 1001 ms" in finding.reason
        assert finding.figures["held_up_ms"] == [1001.0, 1001.0]


@pytest.mark.parametrize(
    ("gate", "figures"),
    [
        ("F-PERF-TPS-001", {"completion_tokens": 0}),
        ("F-PERF-TPS-001", {"duration_ms": 0.0}),
        ("F-PERF-TTFT-001", {"time_to_first_token_ms": None, "completion_tokens": 0}),
    ],
)
def test_what_could_not_be_measured_does_not_pass(
    scripted: Any, answered: Callable[..., Answered], gate: str, figures: dict[str, Any]
) -> None:
    finding = CHECKS[gate](scripted(lambda *_: answered(**figures), playbook=_playbook()))
    assert finding.outcome is Outcome.FALSIFIED
    assert "could not be measured" in finding.reason


def test_one_answer_without_tokens_spoils_the_throughput(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    cell = scripted(
        lambda number, _case: answered(completion_tokens=0 if number == 4 else 10),
        playbook=_playbook(),
    )
    assert CHECKS["F-PERF-TPS-001"](cell).outcome is Outcome.FALSIFIED


@pytest.mark.parametrize("gate", GATES)
def test_a_failure_while_measuring_fails_every_figure(
    scripted: Any, no_answer: tuple[Reply, str], gate: str
) -> None:
    reply, text = no_answer
    finding = CHECKS[gate](scripted(lambda *_: reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason


def test_nothing_to_measure_is_no_verdict(scripted: Any) -> None:
    cell = scripted(playbook=playbook_of(measured_prompt=None))
    finding = CHECKS["F-PERF-TPS-001"](cell)
    assert finding.outcome is Outcome.SKIPPED
    assert str(finding.cause) == "infrastructure:nothing-to-measure"
    assert cell.asked == []


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [(100, 0.99, 99), (101, 0.99, 100), (5, 0.99, 5), (1, 0.5, 1), (4, 0.5, 2), (4, 0.0, 1)],
)
def test_percentile_is_the_nearest_rank(count: int, share: float, expected: int) -> None:
    assert percentile(list(range(count, 0, -1)), share) == expected


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60),
    st.floats(min_value=0, max_value=1),
)
def test_percentile_is_the_smallest_value_with_that_share_at_or_below(
    values: list[float], share: float
) -> None:
    found = percentile(values, share)
    assert found in values
    wanted = Fraction(str(share)) * len(values)
    assert sum(value <= found for value in values) >= wanted
    below = [value for value in values if value < found]
    if below:
        assert sum(value <= max(below) for value in values) < max(1, math.ceil(wanted))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_percentile_grows_with_the_share(values: list[float]) -> None:
    ranks = [percentile(values, share / 20) for share in range(21)]
    assert ranks == sorted(ranks)
    assert ranks[0] == min(values)
    assert ranks[-1] == max(values)


OWN = Profiled(
    tool="apr/1", invocation="apr profile x", tokens_per_second=100.0, p50_ms=100.0, p99_ms=100.0
)


@pytest.mark.parametrize(
    ("gate", "worse"),
    [
        ("F-PERF-TPS-001", {"tokens_per_second": 99.0}),
        ("F-PERF-P50-001", {"p50_ms": 101.0}),
        ("F-PERF-P99-001", {"p99_ms": 101.0}),
    ],
)
def test_an_engine_that_says_worse_of_itself_fails(
    scripted: Any, gate: str, worse: dict[str, float]
) -> None:
    sound = CHECKS[gate](scripted(playbook=_playbook(), profile=OWN))
    assert sound.outcome is Outcome.CORROBORATED
    assert "apr/1 says 100.0" in sound.reason
    told: Any = sound.figures["profile"]
    assert told["call"] == "apr profile x"
    slow = replace(OWN, **worse)
    assert CHECKS[gate](scripted(playbook=_playbook(), profile=slow)).outcome is Outcome.FALSIFIED
    # What we measured of answers is its own affair.
    assert sound.metrics.tokens_per_second == 100.0


@pytest.mark.parametrize("gate", GATES)
def test_what_an_engine_says_of_itself_lets_nothing_pass(scripted: Any, gate: str) -> None:
    limits = {"min_throughput": 1e3, "max_ttft_ms": 1.0, "max_p50_ms": 1.0, "max_p99_ms": 1.0}
    best = replace(OWN, tokens_per_second=1e9, p50_ms=0.1, p99_ms=0.1)
    finding = CHECKS[gate](scripted(playbook=_playbook(**limits), profile=best))
    assert finding.outcome is Outcome.FALSIFIED


def test_without_figures_of_its_own_ours_are_judged(scripted: Any) -> None:
    for profile in ("the profile of apr: gives no throughput", replace(OWN, p50_ms=None)):
        finding = CHECKS["F-PERF-P50-001"](scripted(playbook=_playbook(), profile=profile))
        assert finding.outcome is Outcome.CORROBORATED
        assert "profile" not in finding.figures
    said = CHECKS["F-PERF-TPS-001"](scripted(playbook=_playbook(), profile="the profile: none"))
    assert said.reason.endswith("; the profile: none")


def test_without_a_stream_an_answer_of_one_token_bounds_the_first(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    def whole(_: int, case: PromptCase) -> Answered:
        return answered(
            time_to_first_token_ms=None,
            completion_tokens=case.max_tokens,
            duration_ms=40.0 + case.max_tokens,
        )

    good = CHECKS["F-PERF-TTFT-001"](scripted(whole, playbook=_playbook(max_ttft_ms=41.0)))
    assert good.outcome is Outcome.CORROBORATED
    assert good.reason.startswith("41.0 ms; the limit is ≤ 41 ms; the engine does not stream")
    assert good.figures["first_token"] == 41.0
    assert set(cast("list[int]", good.figures["tokens"])) == {1}
    assert good.metrics.time_to_first_token_ms is None
    late = CHECKS["F-PERF-TTFT-001"](scripted(whole, playbook=_playbook(max_ttft_ms=40.9)))
    assert late.outcome is Outcome.FALSIFIED


def test_an_engine_that_shows_no_first_token_is_no_verdict(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    def uncounted(_: int, case: PromptCase) -> Answered:
        return answered(
            time_to_first_token_ms=None, completion_tokens=10 if case.max_tokens > 1 else 0
        )

    whole = scripted(uncounted, playbook=_playbook())
    finding = CHECKS["F-PERF-TTFT-001"](whole)
    assert (finding.outcome, str(finding.cause)) == (
        Outcome.SKIPPED,
        "infrastructure:not-offered",
    )
    assert CHECKS["F-PERF-TPS-001"](whole).outcome is Outcome.CORROBORATED
    # An answer without a token has none to show, whatever the engine.
    nothing = answered(time_to_first_token_ms=None, completion_tokens=0)
    silent = scripted(lambda *_: nothing, playbook=_playbook())
    assert CHECKS["F-PERF-TTFT-001"](silent).outcome is Outcome.FALSIFIED
