from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from aprqa_ci.certification.timings import (
    TIMINGS_NAME,
    CellTimings,
    joined_timings,
    read_timings,
    timings_of,
    write_timings,
)
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.planning.plan import Plan, PlannedShard
from aprqa_ci.vocabulary import Outcome
from tests.playbooks import planned, playbook_data
from tests.records import NOON, made_records

BARE = planned(playbook_data(test_matrix={"modalities": ["run", "chat"]}), tier="mvp", shards=2)
FIRST, SECOND = BARE.cells


def on(*runners: str | None) -> Plan:
    shards = tuple(
        PlannedShard(id=cell.id, cells=(cell.id,), expected_seconds=1.0, runner=runner)
        for cell, runner in zip(BARE.cells, runners, strict=True)
    )
    return replace(BARE, shards=shards)


def test_a_cell_takes_from_its_first_record_to_its_last() -> None:
    found = timings_of(on("cpu", "big"), "tiny", made_records(BARE))
    # Records are a second apart, and the first one took 0.2 s.
    assert found.seconds == {
        "cpu": {FIRST.id: pytest.approx(len(FIRST.scenarios) - 1 + 0.2)},
        "big": {SECOND.id: pytest.approx(len(SECOND.scenarios) - 1 + 0.2)},
    }


def test_what_was_not_timed_again_stays() -> None:
    a, b = FIRST.id, SECOND.id
    earlier = CellTimings(seconds={"cpu": {a: 1.0, b: 2.0, "gone": 3.0}, "old": {"gone": 4.0}})
    now = CellTimings(seconds={"cpu": {b: 5.0}, "big": {a: 6.0}})
    assert joined_timings(earlier, now, BARE) == CellTimings(
        seconds={"big": {a: 6.0}, "cpu": {a: 1.0, b: 5.0}}
    )
    nothing = CellTimings(seconds={})
    assert joined_timings(nothing, now, BARE) == joined_timings(now, nothing, BARE)


def test_the_order_of_records_does_not_matter() -> None:
    records = made_records(BARE)
    assert timings_of(on("a", "a"), "tiny", records[::-1]) == timings_of(
        on("a", "a"), "tiny", records
    )


def test_a_shard_without_a_class_has_no_timings() -> None:
    assert timings_of(on(None, "cpu"), "tiny", made_records(BARE)).seconds.keys() == {"cpu"}
    assert timings_of(BARE, "tiny", made_records(BARE)).seconds == {}


def test_a_cell_that_was_not_run_to_its_end_says_nothing() -> None:
    skipped = made_records(
        BARE, {FIRST.scenarios[3].id: Outcome.SKIPPED}, cause="infrastructure:no-memory"
    )
    assert timings_of(on("cpu", "cpu"), "tiny", skipped).seconds["cpu"].keys() == {SECOND.id}
    assert timings_of(on("cpu", "cpu"), "tiny", made_records(BARE)[1:]).seconds["cpu"].keys() == {
        SECOND.id
    }


def test_a_failure_takes_its_time_too() -> None:
    failed = made_records(BARE, {FIRST.scenarios[3].id: Outcome.FALSIFIED})
    assert FIRST.id in timings_of(on("cpu", "cpu"), "tiny", failed).seconds["cpu"]


@pytest.mark.parametrize(
    "change",
    [
        lambda record: replace(record, timestamp="yesterday"),
        lambda record: replace(record, timestamp="2026-01-02T12:00:00"),
        lambda record: replace(record, timestamp="1970-01-01T00:00:00Z"),
    ],
)
def test_times_that_cannot_be_are_left_out(
    change: Callable[[EvidenceRecord], EvidenceRecord],
) -> None:
    records = list(made_records(BARE))
    records[0] = change(records[0])
    assert timings_of(on("cpu", "cpu"), "tiny", records).seconds["cpu"].keys() == {SECOND.id}


def test_no_time_at_all_is_no_timing() -> None:
    records = [
        replace(
            record,
            timestamp=f"{NOON:%Y-%m-%dT%H:%M:%SZ}",
            metrics=replace(record.metrics, duration_ms=0),
        )
        for record in made_records(BARE)
    ]
    assert timings_of(on("cpu", "cpu"), "tiny", records).seconds == {}


def test_timings_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = timings_of(on("cpu", "big"), "tiny", made_records(BARE, start=NOON + timedelta(days=1)))
    write_timings(tmp_path, made)
    assert read_timings(tmp_path) == {
        (FIRST.id, "cpu"): made.seconds["cpu"][FIRST.id],
        (SECOND.id, "big"): made.seconds["big"][SECOND.id],
    }


def test_no_timings_leave_the_earlier_ones(tmp_path: Path) -> None:
    assert read_timings(tmp_path) == {}
    write_timings(tmp_path, CellTimings(seconds={}))
    assert list(tmp_path.iterdir()) == []
    write_timings(tmp_path, CellTimings(seconds={"cpu": {"a": 1.0}}))
    write_timings(tmp_path, CellTimings(seconds={}))
    assert read_timings(tmp_path) == {("a", "cpu"): 1.0}


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "null", '"3"'])
def test_a_damaged_file_is_named(tmp_path: Path, seconds: str) -> None:
    path = tmp_path / TIMINGS_NAME
    path.write_text(
        f'{{"schema": "aprqa-timings/1", "seconds": {{"cpu": {{"a": {seconds}}}}}}}',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=TIMINGS_NAME):
        read_timings(tmp_path)
