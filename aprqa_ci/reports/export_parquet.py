"""Evidence as Parquet: typed columns, written in groups of rows; pyarrow is an extra."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.reports.evidence_columns import COLUMNS

__all__ = ["require_parquet", "write_parquet"]

_ROWS = 2000
"""Rows that are held as columns at a time."""


def require_parquet() -> None:
    """Make sure that Parquet can be written.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415 - an extra, and slow to import
    except ImportError as error:
        hint = "pip install 'aprqa-ci[parquet]'"
        raise InputError(Problem(what=f"Parquet needs {error.name}", hint=hint)) from error


def write_parquet(stream: BinaryIO, records: Sequence[EvidenceRecord]) -> None:
    """Write one row a record.

    The columns are those of the CSV, typed; ``time`` is the timestamp as one, in microseconds of
    UTC and null where the text is none, and ``metadata`` is a map.

    Raises:
        InputError: pyarrow is not installed, or a number does not fit 64 bits.
        OSError: the stream cannot be written.
    """
    require_parquet()
    import pyarrow as pa  # noqa: PLC0415 - see require_parquet
    from pyarrow import parquet  # noqa: PLC0415 - likewise

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    columns = [column for column in COLUMNS if column.name != "metadata"]
    schema = pa.schema(
        [
            *((column.name, types[column.kind]) for column in columns),
            ("time", pa.timestamp("us", tz="UTC")),
            ("metadata", pa.map_(pa.string(), pa.string())),
        ]
    )
    with parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        for start in range(0, len(records), _ROWS):
            group = records[start : start + _ROWS]
            data: dict[str, list[Any]] = {
                column.name: [column.of(record) for record in group] for column in columns
            }
            data["time"] = [_moment(record.timestamp) for record in group]
            data["metadata"] = [list(record.metadata.items()) for record in group]
            try:
                batch = pa.record_batch(data, schema=schema)
            except (OverflowError, pa.ArrowInvalid) as error:
                what = f"records {start} to {start + len(group) - 1}: {error}"
                raise InputError(Problem(what=what, hint="export to csv or json")) from error
            writer.write_batch(batch)


def _moment(timestamp: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(timestamp)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
