"""Runs within one evidence file: which one is scored, and what differs between them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.scoring.score import FlakyEnd, FlakyScenario
from aprqa_ci.scoring.wording import brief
from aprqa_ci.vocabulary import Outcome

__all__ = [
    "attempt_of",
    "flaky_scenarios",
    "instant",
    "newest_attempts",
    "newest_run",
    "run_of",
    "time_span",
]

_LONG_AGO = datetime.min.replace(tzinfo=UTC)

# Asked of every record: a plain text is found in a dictionary at once, a member of an enumeration
# after two calls.
_RUN_ID = MetadataKey.RUN_ID.value
_SCENARIO = MetadataKey.SCENARIO.value
_PLAN = MetadataKey.PLAN.value


@lru_cache(maxsize=1 << 16)
def instant(timestamp: str) -> tuple[datetime, str]:
    """Return a key that orders RFC 3339 timestamps by time, to the nanosecond.

    A text that is no timestamp is older than all that are.
    """
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return _LONG_AGO, ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # The existing tool writes nine digits and datetime keeps six, so the digits are compared too.
    _, _, fraction = timestamp.partition(".")
    digits = fraction[: len(fraction) - len(fraction.lstrip("0123456789"))]
    return _utc_second(moment), digits.ljust(9, "0")[:9]


def run_of(record: EvidenceRecord) -> str | None:
    """Return the run that the record belongs to; absent in files that know no runs."""
    return record.meta(MetadataKey.RUN_ID)


def newest_run(records: Sequence[EvidenceRecord]) -> tuple[EvidenceRecord, ...]:
    """Return the records of the run that has the newest record, in their order.

    Scoring every run that ``--append`` keeps would let one old failure count for ever. Records
    without a run id are one run together.
    """
    if len({record.metadata.get(_RUN_ID) for record in records}) < 2:
        return tuple(records)
    newest = max(records, key=lambda record: (*_time(record), run_of(record) or ""))
    run_id = run_of(newest)
    return tuple(record for record in records if run_of(record) == run_id)


def attempt_of(record: EvidenceRecord) -> int:
    """Return which attempt at its scenario the record is of, counted from 1."""
    text = record.meta(MetadataKey.ATTEMPT) or ""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def newest_attempts(records: Sequence[EvidenceRecord]) -> tuple[EvidenceRecord, ...]:
    """Return the records without those of older attempts at their scenario, in their order."""
    newest: defaultdict[str | None, int] = defaultdict(int)
    for record in records:
        scenario = record.meta(MetadataKey.SCENARIO)
        newest[scenario] = max(newest[scenario], attempt_of(record))
    return tuple(
        record
        for record in records
        if (scenario := record.meta(MetadataKey.SCENARIO)) is None
        or attempt_of(record) == newest[scenario]
    )


def flaky_scenarios(records: Iterable[EvidenceRecord]) -> tuple[FlakyScenario, ...]:
    """Return the scenarios that ended in different ways under one and the same plan, by id.

    A skip is no end, so a skip and an answer do not make a scenario flaky.
    """
    first: dict[tuple[str, str], EvidenceRecord] = {}
    several: dict[tuple[str, str], list[EvidenceRecord]] = {}
    for record in records:
        scenario = record.metadata.get(_SCENARIO)
        if scenario is None or record.outcome is Outcome.SKIPPED:
            continue
        key = (scenario, record.metadata.get(_PLAN) or "")
        if key in first:
            several.setdefault(key, [first[key]]).append(record)
        else:
            first[key] = record
    found: defaultdict[str, list[EvidenceRecord]] = defaultdict(list)
    for (scenario, _), group in sorted(several.items(), key=lambda item: item[0]):
        if len({record.outcome for record in group}) > 1:
            found[scenario] += group
    return tuple(
        FlakyScenario(
            scenario=scenario,
            ends=tuple(_end(record) for record in sorted(group, key=_end_order)),
        )
        for scenario, group in found.items()
    )


def _end(record: EvidenceRecord) -> FlakyEnd:
    return FlakyEnd(
        run_id=run_of(record),
        attempt=attempt_of(record),
        outcome=record.outcome,
        reason=brief(record.reason),
        record=record.id,
    )


def _end_order(record: EvidenceRecord) -> tuple[object, ...]:
    # Attempts may be of machines whose clocks differ, so their number comes before the time.
    attempt = (run_of(record) or "", attempt_of(record))
    return (*attempt, *_time(record), record.id, record.outcome.value, record.reason)


def time_span(records: Iterable[EvidenceRecord]) -> tuple[str, str] | None:
    """Return the oldest and the newest timestamp as they are written, if there is any record."""
    ordered = [
        (*instant(timestamp), timestamp) for timestamp in {record.timestamp for record in records}
    ]
    return (min(ordered)[-1], max(ordered)[-1]) if ordered else None


def _time(record: EvidenceRecord) -> tuple[datetime, str]:
    return instant(record.timestamp)


def _utc_second(moment: datetime) -> datetime:
    try:
        at_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        return at_utc.replace(microsecond=0)
    except OverflowError:  # year 1 or 9999 with an offset
        return _LONG_AGO
