"""Evidence as CSV (RFC 4180): UTF-8, CRLF, one record a row.

A spreadsheet takes a cell that begins with ``=`` and the like for a formula and carries it out, and
the cells are what models answered. Such a text gets an apostrophe in front, as spreadsheets have it
for text; so does one that begins with an apostrophe, so that taking one away gives the original.
"""

import csv
import io
from collections.abc import Iterable
from typing import BinaryIO

from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.reports.evidence_columns import COLUMNS

__all__ = ["write_csv"]

# The last four are full-width forms, which some spreadsheets take for the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def write_csv(stream: BinaryIO, records: Iterable[EvidenceRecord]) -> None:
    """Write a head line and one row a record; what is absent is an empty cell.

    Raises:
        OSError: the stream cannot be written.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", errors="replace", newline="")
    rows = csv.writer(text, lineterminator="\r\n")
    rows.writerow([column.name for column in COLUMNS])
    for record in records:
        rows.writerow([_cell(column.of(record)) for column in COLUMNS])
    text.flush()
    # The stream stays its owner's, who syncs and closes it.
    text.detach()


def _cell(value: str | float | None) -> str | int | float:
    if value is None:
        return ""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
