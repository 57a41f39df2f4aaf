"""CSV by RFC 4180, read so that every byte can be put back where it was.

The standard library's reader gives values only: how a field was quoted and how its line ended is
lost, and with it the chance to leave a stranger's line alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.errors import InputError, Problem

__all__ = ["Record", "read_records", "readable_records"]

# One field and what follows it. A quoted field may hold separators, line ends and doubled quotes.
_FIELD = re.compile(
    r"""
    (?: "(?P<quoted>[^"]*(?:""[^"]*)*)" | (?P<bare>[^",\r\n]*) )
    (?P<after> , | \r\n | \n | \Z )
    """,
    re.VERBOSE,
)
_NEXT_LINE = re.compile(r"[^\n]*\n?")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of the file; with quoted line ends it can span several."""

    line: int
    """The line it starts on, counted from 1."""
    spelled: tuple[str, ...]
    """The fields as they are written, quotes included; none for an empty line."""
    values: tuple[str, ...]
    """The fields as they are meant."""
    end: str
    r"""Its line end: ``\n``, ``\r\n``, or nothing at the end of the file."""

    @property
    def text(self) -> str:
        """The record exactly as it stands in the file."""
        return ",".join(self.spelled) + self.end


def read_records(text: str, *, source: Path | str) -> tuple[Record, ...]:
    """Split CSV text into records; their ``text`` one after the other is ``text`` again.

    Args:
        text: the whole file.
        source: the file named in messages.

    Raises:
        InputError: a quote is misplaced or never closed, or a carriage return stands alone.
            Every such line is named.
    """
    problems: list[Problem] = []
    records = tuple(_records(text, source, problems))
    if problems:
        raise InputError(problems)
    return records


def readable_records(text: str) -> tuple[tuple[Record, ...], tuple[Problem, ...]]:
    """Split CSV text into the records that can be read, and name the lines that cannot."""
    problems: list[Problem] = []
    records = tuple(_records(text, "", problems))
    return records, tuple(problems)


def _records(text: str, source: Path | str, problems: list[Problem]) -> Iterator[Record]:
    position, line = 0, 1
    while position < len(text):
        record, position_after = _record(text, position, line)
        if record is None:
            problems.append(Problem(what=_fault(text, position_after), path=source, line=line))
            skipped = _NEXT_LINE.match(text, position_after)
            position_after = skipped.end() if skipped else len(text)
        else:
            yield record
        line += text.count("\n", position, position_after)
        position = position_after


def _record(text: str, position: int, line: int) -> tuple[Record | None, int]:
    """Read one record; without one, the position is where the field starts that has none."""
    spelled: list[str] = []
    values: list[str] = []
    while found := _FIELD.match(text, position):
        after = found["after"]
        spelled.append(found[0].removesuffix(after) if after else found[0])
        quoted = found["quoted"]
        values.append(found["bare"] if quoted is None else quoted.replace('""', '"'))
        position = found.end()
        if after != ",":
            if spelled == [""]:
                spelled, values = [], []
            fields, meant = tuple(spelled), tuple(values)
            return Record(line=line, spelled=fields, values=meant, end=after), position
    return None, position


def _fault(text: str, position: int) -> str:
    if text.startswith('"', position):
        return "a quoted field is not closed, or text follows its closing quote"
    stop = re.compile(r'["\r]').search(text, position)
    if stop and stop[0] == '"':
        return "a quote stands inside a field that does not begin with one"
    return "a carriage return stands alone, outside quotes"
