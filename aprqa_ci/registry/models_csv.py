"""The only reader and writer of ``models.csv``, the registry of certified models.

The file is shared with other tools and people, so it is held as it is, line by line with each
line's own end. A certification changes the cells of one row that it measured; every other byte
stays what it was, statuses that aprqa does not know included.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.registry.records import Record, read_records
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.registry.values import same_value, truth_of

__all__ = [
    "COLUMNS",
    "EMPTY_REGISTRY",
    "MAX_REGISTRY_BYTES",
    "CellChange",
    "Registry",
    "apply",
    "apply_provenance",
    "read_registry",
]

COLUMNS = (
    "model_id",
    "family",
    "parameters",
    "size_category",
    "status",
    "mqs_score",
    "grade",
    "certified_tier",
    "last_certified",
    "g1",
    "g2",
    "g3",
    "g4",
    "tps_gguf_cpu",
    "tps_gguf_gpu",
    "tps_apr_cpu",
    "tps_apr_gpu",
    "tps_st_cpu",
    "tps_st_gpu",
    "provenance_verified",
)
"""The columns of the existing file, in its order."""

EMPTY_REGISTRY = (",".join(COLUMNS) + "\n").encode()
"""A registry without a model."""

MAX_REGISTRY_BYTES = 16 << 20
"""The most bytes of a registry that are read."""

_MARK = b"\xef\xbb\xbf"
_MAX_PROBLEMS = 100
_PROVENANCE = COLUMNS[-1]


@dataclass(frozen=True, kw_only=True)
class CellChange:
    """One cell that an update changed."""

    column: str
    old: str | None
    """What stood there; nothing in a new row."""
    new: str
    model_id: str = ""
    """The row's model, where several rows were changed."""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A ``models.csv``, every byte of it."""

    source: Path | str
    """The file named in messages."""
    marked: bool
    """Whether it begins with a byte order mark, which then stays."""
    records: tuple[Record, ...]
    """The header, the rows and the empty lines."""

    @property
    def data(self) -> bytes:
        """The file's bytes."""
        text = "".join(record.text for record in self.records)
        return (_MARK if self.marked else b"") + text.encode()

    @property
    def rows(self) -> tuple[Mapping[str, str], ...]:
        """Each model's cells by column, as they are meant, in file order."""
        return tuple(
            dict(zip(COLUMNS, record.values, strict=True))
            for record in self.records[1:]
            if record.values
        )

    @property
    def line_end(self) -> str:
        r"""The line end that most lines have; ``\n`` when neither leads."""
        ends = Counter(record.end for record in self.records)
        return "\r\n" if ends["\r\n"] > ends["\n"] else "\n"


def read_registry(data: bytes, *, source: Path | str) -> Registry:
    """Read the bytes of a ``models.csv``.

    Cells are not interpreted: a status that aprqa does not know is a status of somebody else.

    Args:
        data: the file's bytes.
        source: the file named in messages.

    Raises:
        InputError: the file is too large, not UTF-8 or not CSV, its header is another, a row has
            the wrong number of fields, or a model has two rows. All problems are named.
    """
    marked = data.startswith(_MARK)
    records = read_records(_decoded(data.removeprefix(_MARK), source), source=source)
    problems = list(_faults(records))
    if problems:
        kept = problems[:_MAX_PROBLEMS]
        raise InputError(replace(problem, path=source) for problem in kept)
    return Registry(source=source, marked=marked, records=records)


def apply(registry: Registry, update: RowUpdate) -> tuple[bytes, tuple[CellChange, ...]]:
    """Bring one model's row up to date.

    In the model's row the measured cells change, and of those only the ones that now say something
    else; the others keep their spelling. A model without a row gets one at the end.

    Returns:
        The new bytes of the file, and what changed. Without a change they are the old bytes.

    Raises:
        InputError: the update holds a value that is not fit for the file.
    """
    update.check()
    for index, record in enumerate(registry.records):
        if index and record.values and record.values[0] == update.model_id:
            changes = _changes(record, update.measured())
            if changes:
                # What was verified was the certification before.
                changes = _changes(record, {**update.measured(), _PROVENANCE: "false"})
            records = list(registry.records)
            records[index] = _with_cells(record, {each.column: each.new for each in changes})
            return replace(registry, records=tuple(records)).data, changes
    return _with_row(registry, {**update.described(), **update.measured()})


def apply_provenance(
    registry: Registry, verified: Collection[str]
) -> tuple[bytes, tuple[CellChange, ...]]:
    """Have ``provenance_verified`` true in the rows of these models, and in no other.

    Returns:
        The new bytes of the file, and what changed. A cell that is not true is left as it is
        spelled.
    """
    records = list(registry.records)
    changes: list[CellChange] = []
    for index, record in enumerate(records):
        if not index or not record.values:
            continue
        model, old = record.values[0], record.values[COLUMNS.index(_PROVENANCE)]
        if (truth_of(old) is True) != (model in verified):
            new = "true" if model in verified else "false"
            records[index] = _with_cells(record, {_PROVENANCE: new})
            changes.append(CellChange(column=_PROVENANCE, old=old, new=new, model_id=model))
    return replace(registry, records=tuple(records)).data, tuple(changes)


def _changes(record: Record, cells: Mapping[str, str]) -> tuple[CellChange, ...]:
    old = dict(zip(COLUMNS, record.values, strict=True))
    return tuple(
        CellChange(column=column, old=old[column], new=cells[column])
        for column in COLUMNS
        if column in cells and not same_value(old[column], cells[column])
    )


def _with_cells(record: Record, cells: Mapping[str, str]) -> Record:
    """Put new cells into a record; ``RowUpdate.check`` has seen that none needs quotes."""
    spelled = zip(COLUMNS, record.spelled, strict=True)
    values = zip(COLUMNS, record.values, strict=True)
    return replace(
        record,
        spelled=tuple(cells.get(column, text) for column, text in spelled),
        values=tuple(cells.get(column, text) for column, text in values),
    )


def _with_row(registry: Registry, cells: Mapping[str, str]) -> tuple[bytes, tuple[CellChange, ...]]:
    line_end = registry.line_end
    row = ",".join(cells.get(column, "") for column in COLUMNS)
    # A file that ends without a line end goes on ending without one.
    ends_whole = registry.records[-1].end != ""
    text = f"{row}{line_end}" if ends_whole else f"{line_end}{row}"
    changes = tuple(
        CellChange(column=column, old=None, new=cells[column])
        for column in COLUMNS
        if cells.get(column)
    )
    return registry.data + text.encode(), changes


def _decoded(data: bytes, source: Path | str) -> str:
    if len(data) > MAX_REGISTRY_BYTES:
        what = f"the file is larger than {MAX_REGISTRY_BYTES} bytes, the most that is read here"
        raise InputError(Problem(what=what, path=source))
    if (position := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, position) + 1
        raise InputError(Problem(what="a NUL byte stands here", path=source, line=line))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise InputError(Problem(what=what, path=source, line=line)) from error


def _faults(records: tuple[Record, ...]) -> Iterator[Problem]:
    if not records:
        yield Problem(what="the file is empty; the header is missing", line=1)
        return
    yield from _header_faults(records[0])
    seen: dict[str, int] = {}
    for record in records[1:]:
        if not record.values:
            continue
        if len(record.values) != len(COLUMNS):
            what = f"the row has {len(record.values)} fields instead of {len(COLUMNS)}"
            yield Problem(what=what, line=record.line)
        model_id = record.values[0]
        if model_id in seen:
            what = f"{model_id!r} has a row already, in line {seen[model_id]}"
            yield Problem(what=what, line=record.line, hint="keep one of the two")
        seen.setdefault(model_id, record.line)


def _header_faults(header: Record) -> Iterator[Problem]:
    if header.values == COLUMNS:
        return
    missing = [column for column in COLUMNS if column not in header.values]
    unknown = [column for column in header.values if column not in COLUMNS]
    what = "the header is not that of a model registry"
    if missing:
        what += f"; missing: {', '.join(missing)}"
    if unknown:
        what += f"; unknown: {', '.join(repr(column) for column in unknown[:20])}"
    yield Problem(what=what, line=header.line, hint=f"it must read {','.join(COLUMNS)}")
