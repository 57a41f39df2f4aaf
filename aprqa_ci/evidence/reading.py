"""Reading and writing evidence files: the bare array of the field, and the object form."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.files import read_bounded, write_pieces
from aprqa_ci.json_lines import line_of_place, line_of_steps
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import MAX_WIRE_BYTES, near_name, pretty_json

__all__ = ["parse_evidence", "read_evidence", "write_evidence"]

_MAX_PROBLEMS = 20
_AT_ONCE = 500
_OPENED, _CLOSED = b"[\n", b"\n]\n"
_OUTCOMES = [str(outcome) for outcome in Outcome]


def read_evidence(path: Path) -> tuple[EvidenceRecord, ...]:
    """Read an evidence file.

    Raises:
        InputError: with every record that cannot be read, by its index.
    """
    return parse_evidence(read_bounded(path, MAX_WIRE_BYTES), source=path)


def parse_evidence(data: bytes, *, source: Path | str) -> tuple[EvidenceRecord, ...]:
    """Make records of the bytes of an evidence file.

    The file is an array of records, or an object whose ``evidence`` is one. An outcome may be the
    word, or an object with the word as its only key.

    Raises:
        InputError: with every record that cannot be read, by its index.
    """
    try:
        return msgspec.json.decode(data, type=tuple[EvidenceRecord, ...])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        pass  # another form, or a mistake: looked at record by record below
    try:
        raw: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        what = f"not valid JSON: {error}"
        line = line_of_place(data, what)
        raise InputError(Problem(what=what, path=source, line=line)) from error
    entries = raw.get("evidence") if isinstance(raw, dict) else raw
    above = ["evidence"] if isinstance(raw, dict) else []
    if not isinstance(entries, list):
        what = "evidence is an array of records, or an object whose `evidence` is one"
        raise InputError(Problem(what=what, path=source))
    records: list[EvidenceRecord] = []
    problems: list[Problem] = []
    for index, entry in enumerate(entries):
        try:
            records.append(msgspec.convert(_regular(entry), type=EvidenceRecord))
        except msgspec.ValidationError as error:
            line = line_of_steps(data, [*above, index]) if len(problems) < _MAX_PROBLEMS else None
            problems.append(_problem(entry, index, str(error), source, line))
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        if more > 0:
            problems = [
                *problems[:_MAX_PROBLEMS],
                Problem(what=f"and {more} more records", path=source),
            ]
        raise InputError(problems)
    return tuple(records)


def write_evidence(path: Path, records: Sequence[EvidenceRecord]) -> str:
    """Write an evidence file in one step, a few hundred records at a time.

    Returns:
        The SHA-256 of its bytes.

    Raises:
        OSError: the directory cannot be written. An old file is then untouched.
    """
    digest = sha256()

    def digested() -> Iterator[bytes]:
        for piece in _pieces(records):
            digest.update(piece)
            yield piece

    write_pieces(path, digested())
    return digest.hexdigest()


def _pieces(records: Sequence[EvidenceRecord]) -> Iterator[bytes]:
    """Yield what is together the ``pretty_json`` of the records."""
    if not records:
        yield pretty_json(())
        return
    for start in range(0, len(records), _AT_ONCE):
        array = pretty_json(records[start : start + _AT_ONCE])
        # Each piece is an array of its own, whose brackets stand on lines of their own.
        yield (b",\n" if start else _OPENED) + array.removeprefix(_OPENED).removesuffix(_CLOSED)
    yield _CLOSED


def _regular(entry: object) -> object:
    if isinstance(entry, dict):
        outcome = entry.get("outcome")
        if isinstance(outcome, dict) and len(outcome) == 1:
            return entry | {"outcome": next(iter(outcome))}
    return entry


def _problem(entry: object, index: int, what: str, source: Path | str, line: int | None) -> Problem:
    hint = ""
    outcome = entry.get("outcome") if isinstance(entry, dict) else None
    if isinstance(outcome, str) and outcome not in _OUTCOMES:
        hint = near_name(outcome, _OUTCOMES) or f"outcomes are {', '.join(_OUTCOMES)}"
    return Problem(what=f"record {index}: {what}", path=source, line=line, hint=hint)
