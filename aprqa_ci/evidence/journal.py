"""The journal of a running certification: one record a line, on disk as soon as it is known.

A line is written with one call and is whole or not there, except the last one of a process that was
killed in the middle of it; reading leaves such a last line out.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeVar

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.files import read_bounded
from aprqa_ci.wire import MAX_WIRE_BYTES, WireModel

__all__ = [
    "JOURNAL_NAME",
    "Journal",
    "JournalContent",
    "JournalHead",
    "ModelDigests",
    "is_blank",
    "read_journal",
]

JOURNAL_NAME = "evidence.journal.jsonl"

ModelT = TypeVar("ModelT")

ModelDigests = dict[str, dict[str, dict[str, str]]]
"""SHA-256 by file name, by variant, by playbook."""


class JournalHead(WireModel, frozen=True, kw_only=True):
    """The first line: which run this is."""

    schema: Literal["aprqa-journal/1"] = "aprqa-journal/1"
    run_id: str
    plan_digest: str
    started: str
    """RFC 3339, UTC."""


class DigestLine(WireModel, frozen=True, kw_only=True):
    """The digests of one variant's files."""

    playbook: str
    variant: str
    """``safetensors``, ``gguf-q8_0``, …"""
    digests: dict[str, str]
    """SHA-256 by file name."""


class Journal:
    """Appends to a journal file; every line is with the system when ``append`` returns."""

    def __init__(self, path: Path, head: JournalHead, *, resume: bool) -> None:
        """Open the journal.

        Args:
            path: the file; its directory is made.
            head: the first line of a new journal.
            resume: go on with the file that is there.

        Raises:
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._path = path
        self._descriptor = os.open(path, flags if resume else flags | os.O_TRUNC, 0o644)
        if resume:
            _cut_torn_line(path)
        else:
            self._write(head)

    def append(self, record: EvidenceRecord) -> None:
        """Write a record."""
        self._write(record)

    def digests(self, playbook: str, variant: str, digests: Mapping[str, str]) -> None:
        """Write down the digests of one variant's files."""
        self._write(DigestLine(playbook=playbook, variant=variant, digests=dict(digests)))

    def _write(self, line: WireModel) -> None:
        view = memoryview(msgspec.json.encode(line) + b"\n")
        end = os.fstat(self._descriptor).st_size
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            # Half a line may be there when the disk is full; the next one must not follow it.
            with suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def close(self) -> None:
        """Make sure that the file outlives the machine, and close it."""
        try:
            os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class JournalContent(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds."""

    head: JournalHead
    records: tuple[EvidenceRecord, ...]
    digests: ModelDigests


def is_blank(path: Path) -> bool:
    """Say whether a journal has no whole line: its run ended before it could record anything.

    Raises:
        InputError: the file is missing or unreadable.
    """
    return b"\n" not in read_bounded(path, MAX_WIRE_BYTES)


def read_journal(path: Path) -> JournalContent:
    """Read a journal; a torn last line is left out.

    Raises:
        InputError: the file is missing or damaged before its last line.
    """
    lines = read_bounded(path, MAX_WIRE_BYTES).split(b"\n")
    # What follows the last line end is empty, or torn.
    lines.pop()
    if not lines:
        hint = "start again without --resume"
        raise InputError(Problem(what="the journal is empty", path=path, line=1, hint=hint))
    head = _line(lines[0], JournalHead, path, 1)
    records: list[EvidenceRecord] = []
    digests: ModelDigests = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith(b'{"playbook"'):
            entry = _line(line, DigestLine, path, number)
            digests.setdefault(entry.playbook, {})[entry.variant] = entry.digests
        else:
            records.append(_line(line, EvidenceRecord, path, number))
    return JournalContent(head=head, records=tuple(records), digests=digests)


def _line(line: bytes, model: type[ModelT], path: Path, number: int) -> ModelT:
    try:
        return msgspec.json.decode(line, type=model)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(
            Problem(
                what=f"the journal is damaged: {error}",
                path=path,
                line=number,
                hint="start again without --resume",
            )
        ) from error


def _cut_torn_line(path: Path) -> None:
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end != len(data):
        os.truncate(path, end)
