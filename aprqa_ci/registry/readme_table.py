"""The table of all models in the README, made from the registry alone."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded, unwritable, write_atomic
from aprqa_ci.markdown import Cell, Inline, bold, escape_text, link, table
from aprqa_ci.registry.models_csv import Registry
from aprqa_ci.registry.row_update import is_model_id
from aprqa_ci.registry.values import UNTESTED, billions_of, instant_of, number_of, truth_of
from aprqa_ci.vocabulary import Status

__all__ = [
    "TABLE_END",
    "TABLE_START",
    "has_markers",
    "render_table",
    "replace_table",
    "update_readme",
]

TABLE_START = "<!-- CERTIFICATION_TABLE_START -->"
TABLE_END = "<!-- CERTIFICATION_TABLE_END -->"

_MAX_README_BYTES = 16 << 20

_HEADERS = ("Model", "Family", "Size", "Status", "MQS", "Grade", "G1-4", "Prov")
_THROUGHPUT = {
    "GGUF CPU": "tps_gguf_cpu",
    "GGUF GPU": "tps_gguf_gpu",
    "APR CPU": "tps_apr_cpu",
    "APR GPU": "tps_apr_gpu",
    "ST CPU": "tps_st_cpu",
    "ST GPU": "tps_st_gpu",
}
_ALIGN = "llllrccc" + "r" * len(_THROUGHPUT)

# Words of other tools, and what they count as; each is still shown as its own word.
_COUNTED_AS = {
    Status.CERTIFIED.value: "Certified",
    Status.PROVISIONAL.value: "Provisional",
    Status.BLOCKED.value: "Blocked",
    "PARTIAL": "Blocked",
    "FAIL": "Blocked",
    **dict.fromkeys(UNTESTED, "Pending"),
}
_COUNTS = ("Certified", "Provisional", "Blocked", "Pending")
_OTHER = "Other"


def render_table(registry: Registry) -> str:
    r"""Render summary and table, lines ended by ``\n``, without the markers.

    Rows are ordered by family, then by size. The date is that of the newest certification, so that
    an unchanged registry gives an unchanged text.
    """
    rows = sorted(registry.rows, key=lambda row: (row["family"], billions_of(row["parameters"])))
    counts = Counter(_COUNTED_AS.get(row["status"], _OTHER) for row in rows)
    words = (*_COUNTS, _OTHER) if counts[_OTHER] else _COUNTS
    summary = table(["Status", "Count"], [[word, f"{counts[word]}/{len(rows)}"] for word in words])
    models = table(
        [*_HEADERS, *_THROUGHPUT],
        [_cells(row) for row in rows],
        _ALIGN,
        limit=100,
    )
    return f"{_headline(rows)}\n\n{summary}\n\n{models}\n"


def replace_table(readme: str, table_text: str, *, source: Path | str = "README.md") -> str:
    """Put the table between the markers; everything else stays as it is.

    Args:
        readme: the whole file, its line ends untouched.
        table_text: what ``render_table`` gave.
        source: the file named in messages.

    Returns:
        The new text; its table has the line ends of the start marker's line.

    Raises:
        InputError: a marker is missing, stands twice, or the end comes before the start. A marker
            counts where it is alone on its line.
    """
    lines = readme.split("\n")
    start = _marker(lines, TABLE_START, source)
    end = _marker(lines, TABLE_END, source)
    if end < start:
        what = f"{TABLE_END} stands before {TABLE_START}, which is in line {start + 1}"
        raise InputError(Problem(what=what, path=source, line=end + 1))
    line_end = "\r" if lines[start].endswith("\r") else ""
    inside = [f"{line}{line_end}" for line in table_text.rstrip("\n").split("\n")]
    return "\n".join([*lines[: start + 1], *inside, *lines[end:]])


def has_markers(path: Path) -> bool:
    """Say whether a README file is there and has any of the markers."""
    if not path.exists():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return TABLE_START in text or TABLE_END in text


def update_readme(path: Path, registry: Registry) -> bool:
    """Bring the table of a README file up to date.

    Returns:
        Whether the file changed.

    Raises:
        InputError: the file is missing, not UTF-8, without its markers, or cannot be written; it
            is then as it was.
        InconclusiveError: the disk is full, failing or read-only; likewise.
    """
    data = read_bounded(path, _MAX_README_BYTES)
    try:
        old = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(Problem(what="the text is not UTF-8", path=path, line=line)) from error
    new = replace_table(old, render_table(registry), source=path)
    if new == old:
        return False
    try:
        write_atomic(path.resolve(), new.encode())
    except OSError as error:
        raise unwritable(path, error) from error
    return True


def _marker(lines: list[str], marker: str, source: Path | str) -> int:
    """Return the index of the only line that is the marker."""
    found = [index for index, line in enumerate(lines) if line.strip() == marker]
    if len(found) == 1:
        return found[0]
    if not found:
        hint = f"put {TABLE_START} and {TABLE_END} on lines of their own where the table belongs"
        raise InputError(Problem(what=f"{marker} is missing", path=source, hint=hint))
    raise InputError(
        Problem(what=f"{marker} stands {len(found)} times", path=source, line=index + 1)
        for index in found
    )


def _headline(rows: list[Mapping[str, str]]) -> str:
    newest = max(
        (
            time
            for row in rows
            if row["status"] not in UNTESTED
            and (time := instant_of(row["last_certified"])) is not None
        ),
        default=None,
    )
    when = _minute(newest[0]) if newest else "nothing is certified yet"
    return bold(f"Certification summary (updated: {when})")


def _minute(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _cells(row: Mapping[str, str]) -> list[Cell]:
    gates = [truth_of(row[column]) is True for column in ("g1", "g2", "g3", "g4")]
    tested = row["status"] not in UNTESTED
    return [
        _model(row["model_id"]),
        row["family"],
        row["parameters"],
        bold(escape_text(row["status"], 40)),
        _plain(row["mqs_score"]),
        _plain(row["grade"]),
        _tick(all(gates)) if tested else None,
        _tick(truth_of(row["provenance_verified"]) is True) if tested else None,
        *(_throughput(row[column]) for column in _THROUGHPUT.values()),
    ]


def _model(model_id: str) -> Inline:
    name = model_id.rpartition("/")[2]
    if is_model_id(model_id):
        return link(name, f"https://huggingface.co/{model_id}")
    return escape_text(model_id, 200)


def _plain(value: str) -> str | None:
    """Show a cell as it stands; a lone dash means that there is nothing."""
    return None if value == "-" else value


def _throughput(value: str) -> str:
    number = number_of(value)
    return value if number is None else f"{number:.1f}"


def _tick(value: bool) -> str:  # noqa: FBT001 - the value is the point, not a switch
    return "✓" if value else "✗"
