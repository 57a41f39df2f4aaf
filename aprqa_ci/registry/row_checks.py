"""What a row of the registry says that cannot all be true. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.registry.values import UNTESTED, instant_of, number_of, same_value, truth_of
from aprqa_ci.scoring.policies import DEFAULT_POLICY, load_policy
from aprqa_ci.vocabulary import Status

__all__ = ["GATE_COLUMNS", "RowFault", "differences", "row_faults", "value_faults"]

GATE_COLUMNS = ("g1", "g2", "g3", "g4")
_PASSING = ("A", "B", "C", "D")
_NO_GRADE = ("F", "-", "")
_NO_TIER = ("none", "-", "")
_MOST_POINTS = 1000


class RowFault(StrEnum):
    """What kind of contradiction a row holds."""

    VALUE = "bad-value"
    """A cell holds nothing of its kind."""
    FAILED_GATES = "score-with-failed-gates"
    """A gateway that failed zeroes the score, and the row has one."""
    STATUS = "status-contradicts-score"
    GRADE = "grade-contradicts-score"
    TIER = "tier-contradicts-status"


def row_faults(row: Mapping[str, str]) -> Iterator[tuple[RowFault, str]]:
    """Yield what a row says against itself, a kind and a sentence each."""
    score = number_of(row["mqs_score"])
    failed = [name for name in GATE_COLUMNS if truth_of(row[name]) is False]
    if score and failed:
        yield (
            RowFault.FAILED_GATES,
            f"mqs_score is {row['mqs_score']} with {', '.join(failed)} false",
        )
    certified = row["status"] == Status.CERTIFIED.value
    least = load_policy(DEFAULT_POLICY).certify_at
    if certified and score is not None and score < least:
        yield RowFault.STATUS, f"CERTIFIED with an mqs_score of {row['mqs_score']}, below {least}"
    if certified and failed:
        yield RowFault.STATUS, f"CERTIFIED with {', '.join(failed)} false"
    if certified and row["grade"] in _NO_GRADE:
        yield RowFault.GRADE, f"CERTIFIED with the grade {row['grade']!r}"
    if score == 0 and row["grade"][:1] in _PASSING:
        yield RowFault.GRADE, f"the grade is {row['grade']} with an mqs_score of 0"
    if certified and row["certified_tier"] in _NO_TIER:
        yield RowFault.TIER, f"CERTIFIED with certified_tier {row['certified_tier']!r}"
    if not certified and row["certified_tier"] in load_tiers():
        yield RowFault.TIER, f"certified_tier is {row['certified_tier']} and status {row['status']}"
    if row["status"] in UNTESTED:
        passed = [name for name in GATE_COLUMNS if truth_of(row[name])]
        told = [f"an mqs_score of {row['mqs_score']}"] if score else []
        told += [f"{', '.join(passed)} true"] if passed else []
        if told:
            yield RowFault.STATUS, f"{row['status']} with {' and '.join(told)}"


def differences(row: Mapping[str, str], update: RowUpdate) -> tuple[tuple[str, str], ...]:
    """Return what a row says otherwise than a certificate: a column and a sentence each.

    What the certificate did not measure may stem from another one.
    """
    return tuple(
        (column, f"{column} is {row[column] or 'empty'}, {cell} by the certificate")
        for column, cell in update.measured().items()
        if not same_value(row[column], cell)
    )


def value_faults(row: Mapping[str, str]) -> Iterator[tuple[RowFault, str]]:
    """Yield the cells of a row that hold nothing of their kind."""
    score = number_of(row["mqs_score"])
    if score is None or not 0 <= score <= _MOST_POINTS or score != int(score):
        yield RowFault.VALUE, f"mqs_score is {row['mqs_score']!r}, and must be 0 to {_MOST_POINTS}"
    for name in (*GATE_COLUMNS, "provenance_verified"):
        if truth_of(row[name]) is None:
            yield RowFault.VALUE, f"{name} is {row[name]!r}, and must be true or false"
    if instant_of(row["last_certified"]) is None:
        yield RowFault.VALUE, f"last_certified is {row['last_certified']!r}, and must be a time"
