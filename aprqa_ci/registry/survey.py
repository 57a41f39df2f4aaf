"""Reading a ``models.csv`` in whatever state it is, to say what is wrong with it.

``read_registry`` refuses a damaged file whole, as whoever writes it must. Whoever looks for what is
wrong takes what can be read and names the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.registry.models_csv import COLUMNS
from aprqa_ci.registry.records import Record, readable_records

__all__ = ["Survey", "SurveyedRow", "survey"]

_KEY = COLUMNS[0]
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class SurveyedRow:
    """One row that can be read."""

    line: int
    cells: Mapping[str, str]
    """By column; empty where the file has no such column."""

    @property
    def model_id(self) -> str:
        """The row's key."""
        return self.cells[_KEY]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What can be read of a registry, and what cannot."""

    rows: tuple[SurveyedRow, ...]
    """The first of each model, in file order."""
    damaged: tuple[tuple[int, str], ...]
    """Lines that are no rows, each with what is wrong."""
    duplicates: tuple[tuple[str, int, int], ...]
    """Models with another row: the model, the line of that row, and the line of the first."""


def survey(data: bytes, *, source: Path | str) -> Survey:
    """Read what can be read of the bytes of a ``models.csv``.

    Raises:
        InputError: it is not such a file at all: there is no header with ``model_id`` in it.
    """
    damaged: list[tuple[int, str]] = []
    records, problems = readable_records(_text(data.removeprefix(_MARK), damaged))
    damaged += [(problem.line or 0, problem.what) for problem in problems]
    header = records[0] if records else None
    if header is None or _KEY not in header.values:
        hint = f"it begins with a line {_KEY},…"
        raise InputError(Problem(what="this is no model registry", path=source, line=1, hint=hint))
    missing = [column for column in COLUMNS if column not in header.values]
    if missing:
        damaged.append((header.line, f"columns are missing: {', '.join(missing)}"))
    rows: dict[str, SurveyedRow] = {}
    duplicates = []
    for row in _rows(header, records[1:], damaged):
        first = rows.setdefault(row.model_id, row)
        if first is not row:
            duplicates.append((row.model_id, row.line, first.line))
    return Survey(
        rows=tuple(rows.values()), damaged=tuple(sorted(damaged)), duplicates=tuple(duplicates)
    )


def _text(data: bytes, damaged: list[tuple[int, str]]) -> str:
    for number, line in enumerate(data.split(b"\n"), start=1):
        if b"\0" in line:
            damaged.append((number, "a NUL byte stands here"))
        try:
            line.decode()
        except UnicodeDecodeError as error:
            damaged.append((number, f"byte 0x{line[error.start]:02x} is not UTF-8"))
    return data.decode(errors="replace")


def _rows(
    header: Record, records: tuple[Record, ...], damaged: list[tuple[int, str]]
) -> Iterator[SurveyedRow]:
    for record in records:
        if not record.values:
            continue
        if len(record.values) != len(header.values):
            what = f"the row has {len(record.values)} fields instead of {len(header.values)}"
            damaged.append((record.line, what))
        told = dict(zip(header.values, record.values, strict=False))
        if told.get(_KEY):
            cells = {column: told.get(column, "") for column in COLUMNS}
            yield SurveyedRow(line=record.line, cells=cells)
