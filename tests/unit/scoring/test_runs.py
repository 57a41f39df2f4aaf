from typing import TYPE_CHECKING

import pytest

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.scoring.runs import (
    attempt_of,
    flaky_scenarios,
    instant,
    newest_attempts,
    newest_run,
    time_span,
)
from aprqa_ci.vocabulary import Outcome

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

OLD_TO_NEW = [
    "not a time",
    "2026-02-13T00:46:17Z",
    "2026-02-13T00:46:17.451742Z",
    "2026-02-13T00:46:17.451742928Z",
    "2026-02-13T00:46:17.451742929+00:00",
    "2026-02-13T02:46:17.5+02:00",
    "2026-02-13T00:46:18",
]


def test_instants_order_by_time_to_the_nanosecond() -> None:
    mixed = OLD_TO_NEW[4:] + OLD_TO_NEW[:4]
    assert sorted(mixed, key=instant) == OLD_TO_NEW
    assert len({instant(text) for text in OLD_TO_NEW}) == len(OLD_TO_NEW)


def test_an_instant_beyond_the_calendar_is_old_and_no_error() -> None:
    assert instant("0001-01-01T00:00:00+10:00")[0] == instant("0001-01-01T00:00:00Z")[0]


def test_newest_run_is_the_one_with_the_newest_record(bench: "Bench") -> None:
    first = [bench.record("G1-LOAD", number=n, run_id="b") for n in (1, 9)]
    second = [bench.record("G1-LOAD", number=n, run_id="a") for n in (5, 12)]
    assert newest_run([second[1], first[0], first[1], second[0]]) == (second[1], second[0])


def test_records_without_run_ids_are_one_run(bench: "Bench") -> None:
    records = [bench.record("G1-LOAD", number=n) for n in (3, 1, 2)]
    assert newest_run(records) == tuple(records)
    named = bench.record("G1-LOAD", number=2, run_id="a")
    assert newest_run([*records, named]) == tuple(records)


def test_of_runs_that_end_together_the_choice_does_not_depend_on_the_order(bench: "Bench") -> None:
    one, two = (bench.record("G1-LOAD", number=7, run_id=name) for name in "ab")
    assert newest_run([one, two]) == newest_run([two, one]) == (two,)


def test_no_records_are_no_run() -> None:
    assert newest_run([]) == ()
    assert time_span([]) is None


@pytest.mark.parametrize(
    ("text", "attempt"), [(None, 1), ("1", 1), ("3", 3), ("x", 1), ("²", 1), ("9" * 5000, 1)]
)
def test_attempt(bench: "Bench", text: str | None, attempt: int) -> None:
    assert attempt_of(bench.record("G1-LOAD", attempt=text)) == attempt


def test_flaky_are_scenarios_with_differing_ends_under_one_plan(bench: "Bench") -> None:
    def record(scenario: str, outcome: Outcome, plan: str = "p") -> EvidenceRecord:
        return bench.record("F-A1-001", outcome, scenario=scenario, plan=plan)

    records = [
        record("flaky", Outcome.CORROBORATED),
        record("flaky", Outcome.FALSIFIED),
        record("steady", Outcome.CORROBORATED),
        record("steady", Outcome.CORROBORATED),
        record("skipped once", Outcome.SKIPPED),
        record("skipped once", Outcome.CORROBORATED),
        record("another plan", Outcome.CORROBORATED),
        record("another plan", Outcome.FALSIFIED, plan="q"),
        bench.record("F-A1-001", Outcome.FALSIFIED),
    ]
    found = flaky_scenarios(records)
    assert [each.scenario for each in found] == ["flaky"]
    assert [end.outcome for end in found[0].ends] == [Outcome.CORROBORATED, Outcome.FALSIFIED]


def test_the_ends_of_a_flaky_scenario_stand_by_attempt_whatever_the_clocks(
    bench: "Bench",
) -> None:
    def ended(attempt: int, outcome: Outcome, time: str) -> EvidenceRecord:
        return bench.record(
            "F-A1-001",
            outcome,
            number=attempt,
            scenario="s",
            attempt=str(attempt),
            run_id="r",
            reason=f"reason {attempt}",
            timestamp=time,
        )

    records = [
        ended(10, Outcome.CORROBORATED, "2026-01-01T09:00:00Z"),
        ended(2, Outcome.FALSIFIED, "2026-01-01T10:00:00Z"),
        ended(3, Outcome.SKIPPED, "2026-01-01T10:30:00Z"),
        ended(1, Outcome.CRASHED, "2026-01-01T11:00:00Z"),
    ]
    (found,) = flaky_scenarios(records)
    assert [(end.attempt, end.reason, end.record) for end in found.ends] == [
        (number, f"reason {number}", f"{number:032x}") for number in (1, 2, 10)
    ]
    assert found.ends_text == "attempt 1 Crashed, attempt 2 Falsified, attempt 10 Corroborated"
    assert flaky_scenarios(records[::-1]) == (found,)


def test_many_ends_are_told_by_their_number(bench: "Bench") -> None:
    records = [
        bench.record(
            "F-A1-001",
            Outcome.FALSIFIED if number % 2 else Outcome.CORROBORATED,
            number=number,
            scenario="s",
            attempt=str(number),
        )
        for number in range(1, 51)
    ]
    (found,) = flaky_scenarios(records)
    assert len(found.ends) == 50
    assert found.ends_text.endswith("attempt 8 Corroborated, and 42 more")


def test_runs_are_told_apart_where_there_are_several(bench: "Bench") -> None:
    records = [
        bench.record("F-A1-001", outcome, number=number, scenario="s", run_id=run)
        for number, (run, outcome) in enumerate(
            [("r1", Outcome.FALSIFIED), ("r2", Outcome.CORROBORATED)]
        )
    ]
    (found,) = flaky_scenarios(records)
    assert found.ends_text == "attempt 1 of r1 Falsified, attempt 1 of r2 Corroborated"


def test_the_newest_attempts_are_taken_scenario_by_scenario(bench: "Bench") -> None:
    def record(number: int, scenario: str | None, attempt: int) -> EvidenceRecord:
        return bench.record(
            "F-A1-001", number=number, scenario=scenario, attempt=str(attempt), run_id="r"
        )

    records = [
        record(1, "once", 1),
        record(2, "twice", 1),
        record(3, "twice", 2),
        record(4, None, 1),
        record(5, None, 2),
    ]
    newest = newest_attempts(records)
    assert newest == (records[0], *records[2:])


def test_time_span_gives_the_timestamps_as_written(bench: "Bench") -> None:
    records = [bench.record("G1-LOAD", timestamp=text) for text in reversed(OLD_TO_NEW[1:6])]
    assert time_span(records) == (OLD_TO_NEW[1], OLD_TO_NEW[5])
