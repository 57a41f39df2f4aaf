from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.registry.models_csv import COLUMNS
from aprqa_ci.registry.survey import Survey, survey

Row = Callable[..., str]
HEADER = ",".join(COLUMNS)


def surveyed(*lines: str | bytes) -> Survey:
    data = b"\r\n".join(each if isinstance(each, bytes) else each.encode() for each in lines)
    return survey(data, source="models.csv")


def test_what_can_be_read_is_read_and_the_rest_is_named(row: Row) -> None:
    found = surveyed(
        HEADER,
        row("a/a"),
        "short",
        row("a/a", status="FAIL"),
        "",
        'b/b,"open',
        row("c/c"),
    )
    assert [each.model_id for each in found.rows] == ["a/a", "short", "c/c"]
    assert found.rows[0].cells["status"] == "PENDING"
    assert found.rows[1].cells["status"] == ""
    assert found.duplicates == (("a/a", 4, 2),)
    assert [line for line, _ in found.damaged] == [3, 6]


def test_bytes_that_do_not_belong_there_are_named_by_line(row: Row) -> None:
    found = surveyed(b"\xef\xbb\xbf" + HEADER.encode(), row("a/a").encode() + b"\xff", b"b/b\0")
    assert [line for line, _ in found.damaged] == [2, 3, 3]
    assert "0xff is not UTF-8" in found.damaged[0][1]
    assert {what for line, what in found.damaged if line == 3} == {
        "a NUL byte stands here",
        "the row has 1 fields instead of 20",
    }
    assert len(found.rows) == 2


def test_a_file_with_other_columns_is_read_by_their_names() -> None:
    found = surveyed("model_id,mqs_score", "a/a,500")
    assert found.rows[0].cells["mqs_score"] == "500"
    assert found.rows[0].cells["g4"] == ""
    assert found.damaged[0][1].startswith("columns are missing: family, ")


@pytest.mark.parametrize("data", [b"", b"name,score\nx,1\n", b'"open'])
def test_what_is_no_registry_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="no model registry"):
        survey(data, source="models.csv")


@given(st.binary(max_size=400))
def test_nothing_is_too_damaged(data: bytes) -> None:
    found = survey(HEADER.encode() + b"\n" + data, source="models.csv")
    assert all(set(each.cells) == set(COLUMNS) for each in found.rows)
