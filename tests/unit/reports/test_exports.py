"""Each format read again by a parser of its own: csv, pyarrow, our reader."""

import csv
import io
import json
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.reports.evidence_columns import COLUMNS
from aprqa_ci.reports.export_csv import write_csv
from aprqa_ci.reports.export_json import write_object
from aprqa_ci.reports.export_parquet import require_parquet, write_parquet
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_plan, scenario_id
from tests.records import made_records

RECORDS = made_records(
    made_plan(),
    {
        scenario_id(): Outcome.FALSIFIED,
        scenario_id("002"): Outcome.SKIPPED,
        scenario_id("G1-LOAD"): Outcome.CRASHED,
    },
)
STARTS = "=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20"


def changed(**fields: Any) -> EvidenceRecord:
    return msgspec.structs.replace(RECORDS[0], **fields)


def as_csv(*records: EvidenceRecord) -> bytes:
    stream = io.BytesIO()
    write_csv(stream, records)
    return stream.getvalue()


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline=""), strict=True))


def original(cell: str) -> str:
    return cell.removeprefix("'")


def test_every_field_of_a_record_has_a_column() -> None:
    flat = json.loads(msgspec.json.encode(RECORDS[0]))
    named = {column.name for column in COLUMNS}
    for key in ("scenario", "metrics", "host"):
        inner = flat.pop(key)
        inner.pop("model", None)
        flat |= {"scenario_id" if (key, name) == ("scenario", "id") else name: 1 for name in inner}
    assert set(flat) <= named


def test_csv_is_what_was_recorded() -> None:
    data = as_csv(*RECORDS)
    assert data.startswith(b"id,gate_id,outcome,reason,cell,")
    assert data.count(b"\r\n") == len(RECORDS) + 1
    for row, record in zip(rows(data), RECORDS, strict=True):
        assert row["id"] == record.id
        assert row["outcome"] == record.outcome
        assert row["tokens_per_second"] == "40.0"
        assert row["exit_code"] == ""
        assert json.loads(row["metadata"]) == record.metadata


@pytest.mark.parametrize("start", STARTS)
def test_no_cell_begins_like_a_formula(start: str) -> None:
    text = f"{start}cmd|' /C calc'!A0"
    (row,) = rows(as_csv(changed(output=text, reason=text, stderr=text)))
    for name in ("output", "reason", "stderr"):
        assert row[name] == f"'{text}"
        assert original(row[name]) == text


def test_a_negative_number_stays_a_number() -> None:
    (row,) = rows(as_csv(changed(exit_code=-11)))
    assert row["exit_code"] == "-11"


@settings(max_examples=60)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_text_comes_back_from_csv(texts: list[str]) -> None:
    records = [changed(output=text, reason=text) for text in texts]
    for row, text in zip(rows(as_csv(*records)), texts, strict=True):
        assert not row["output"].startswith(tuple(STARTS.replace("'", "")))
        assert original(row["output"]) == text


def as_object(*records: EvidenceRecord) -> bytes:
    stream = io.BytesIO()
    write_object(stream, records)
    return stream.getvalue()


def test_the_object_form_is_read_again_and_adds_up() -> None:
    data = as_object(*RECORDS)
    assert parse_evidence(data, source="x") == RECORDS
    value = json.loads(data)
    assert list(value) == [
        "total_scenarios",
        "passed",
        "failed",
        "skipped",
        "duration_ms",
        "evidence",
    ]
    assert value["total_scenarios"] == len(RECORDS) == len(value["evidence"])
    assert (value["failed"], value["skipped"]) == (2, 1)
    assert value["passed"] == len(RECORDS) - 3
    assert value["duration_ms"] == 200 * len(RECORDS)


def test_nothing_is_an_empty_table_and_an_empty_object() -> None:
    assert rows(as_csv()) == []
    assert json.loads(as_object())["evidence"] == []
    assert parse_evidence(as_object(), source="x") == ()


def as_table(*records: EvidenceRecord) -> Any:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [parquet] is not installed")
    stream = io.BytesIO()
    write_parquet(stream, records)
    return parquet.read_table(io.BytesIO(stream.getvalue()))


def test_parquet_is_typed_and_what_was_recorded() -> None:
    table = as_table(*RECORDS)
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["tokens_per_second"] == "double"
    assert kinds["total_tokens"] == "int64"
    assert kinds["outcome"] == "string"
    assert kinds["time"] == "timestamp[us, tz=UTC]"
    assert kinds["metadata"].startswith("map<string, string")
    told = table.to_pylist()
    for row, record in zip(told, RECORDS, strict=True):
        for column in COLUMNS:
            if column.name != "metadata":
                assert row[column.name] == column.of(record), column.name
        assert dict(row["metadata"]) == record.metadata
        assert row["time"].isoformat().startswith(record.timestamp[:19])


def test_parquet_keeps_what_is_hostile_as_data() -> None:
    (row,) = as_table(changed(output="=1+1\0", timestamp="yesterday", stderr=None)).to_pylist()
    assert (row["output"], row["time"], row["stderr"]) == ("=1+1\0", None, None)
    assert row["timestamp"] == "yesterday"


def test_parquet_comes_in_groups_of_rows() -> None:
    many = [changed(output=str(number)) for number in range(4001)]
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra [parquet] is not installed")
    stream = io.BytesIO()
    write_parquet(stream, many)
    file = parquet.ParquetFile(io.BytesIO(stream.getvalue()))
    assert file.num_row_groups == 3
    assert file.read(["output"]).column(0).to_pylist() == [record.output for record in many]


def test_a_number_that_fits_nowhere_is_named() -> None:
    pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    scenario = msgspec.structs.replace(RECORDS[0].scenario, seed=2**64 - 1)
    with pytest.raises(InputError, match="records 0 to 0") as caught:
        as_table(changed(scenario=scenario))
    assert "csv or json" in str(caught.value)


def test_without_pyarrow_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match=r"pip install 'aprqa-ci\[parquet\]'"):
        require_parquet()
