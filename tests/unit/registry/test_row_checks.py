from collections.abc import Callable
from dataclasses import replace

import pytest

from aprqa_ci.registry.models_csv import COLUMNS
from aprqa_ci.registry.row_checks import differences, row_faults, value_faults
from aprqa_ci.registry.row_update import RowUpdate

Row = Callable[..., str]

CERTIFIED = {
    "status": "CERTIFIED", "mqs_score": "931", "grade": "A", "certified_tier": "mvp",
    "g1": "true", "g2": "TRUE", "g3": "true", "g4": "true",
}  # fmt: skip


def faults(row: Row, cells: dict[str, str]) -> dict[str, str]:
    text = row("a/a", **cells).split(",")
    told = dict(zip(COLUMNS, text, strict=True))
    return {str(kind): what for kind, what in (*value_faults(told), *row_faults(told))}


def test_a_row_that_nothing_contradicts_has_no_fault(row: Row) -> None:
    assert faults(row, {}) == {}
    assert faults(row, CERTIFIED) == {}
    blocked = {"status": "BLOCKED", "mqs_score": "0", "grade": "F", "g1": "true"}
    assert faults(row, blocked) == {}


@pytest.mark.parametrize(
    ("cells", "kind", "what"),
    [
        (CERTIFIED | {"g3": "false"}, "score-with-failed-gates", "is 931 with g3 false"),
        (CERTIFIED | {"g3": "false"}, "status-contradicts-score", "CERTIFIED with g3 false"),
        (CERTIFIED | {"mqs_score": "799"}, "status-contradicts-score", "below 800"),
        (CERTIFIED | {"grade": "F"}, "grade-contradicts-score", "the grade 'F'"),
        (CERTIFIED | {"certified_tier": "none"}, "tier-contradicts-status", "'none'"),
        (CERTIFIED | {"status": "FAIL"}, "tier-contradicts-status", "mvp and status FAIL"),
        ({"grade": "B"}, "grade-contradicts-score", "B with an mqs_score of 0"),
        (
            {"mqs_score": "5", "g2": "true"},
            "status-contradicts-score",
            "PENDING with an mqs_score of 5 and g2 true",
        ),
        ({"mqs_score": "1001"}, "bad-value", "mqs_score is '1001'"),
        ({"mqs_score": "9.5"}, "bad-value", "mqs_score is '9.5'"),
        ({"mqs_score": "nan"}, "bad-value", "mqs_score is 'nan'"),
        ({"g4": "yes"}, "bad-value", "g4 is 'yes'"),
        ({"provenance_verified": ""}, "bad-value", "provenance_verified is ''"),
        ({"last_certified": "yesterday"}, "bad-value", "last_certified is 'yesterday'"),
    ],
)
def test_what_contradicts_itself_is_named(
    row: Row, cells: dict[str, str], kind: str, what: str
) -> None:
    assert what in faults(row, cells)[kind]


def test_a_row_is_held_against_its_certificate(update: RowUpdate) -> None:
    mine = {**update.described(), **update.measured()}
    cells = dict.fromkeys(COLUMNS, "") | mine | {"tps_st_cpu": "7.0", "mqs_score": "931.0"}
    assert differences(cells, update) == ()
    assert differences(cells, replace(update, mqs_score=12)) == (
        ("mqs_score", "mqs_score is 931.0, 12 by the certificate"),
    )
    assert differences(cells | {"grade": ""}, update) == (
        ("grade", "grade is empty, A by the certificate"),
    )
