import errno
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.journal import Journal, JournalHead, is_blank, read_journal
from aprqa_ci.evidence.record import EvidenceRecord
from tests.playbooks import planned, playbook_data
from tests.records import made_records

RECORDS = made_records(planned(playbook_data(), tier="quick"))[:6]
HEAD = JournalHead(run_id="run-1", plan_digest="d" * 64, started="2026-01-02T12:00:00.000000Z")
DIGESTS = {"model.safetensors": "a" * 64}

in_one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, records: tuple[EvidenceRecord, ...] = RECORDS) -> bytes:
    """Write a journal with a line of digests after its first record, and return its bytes."""
    with Journal(path, HEAD, resume=False) as journal:
        for number, record in enumerate(records):
            journal.append(record)
            if number == 0:
                journal.digests("tiny", "safetensors", DIGESTS)
    return path.read_bytes()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal"
    write(path)
    content = read_journal(path)
    assert content.head == HEAD
    assert content.records == RECORDS
    assert content.digests == {"tiny": {"safetensors": DIGESTS}}


def test_a_line_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal(path, HEAD, resume=False)
    for number, record in enumerate(RECORDS, start=1):
        journal.append(record)
        assert read_journal(path).records == RECORDS[:number]
    journal.close()


def test_a_journal_is_begun_anew_unless_it_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path)
    write(path, RECORDS[:1])
    assert read_journal(path).records == RECORDS[:1]


def test_a_large_record_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = msgspec.structs.replace(RECORDS[0], output="x" * 100_000)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:1000])))
    path = tmp_path / "journal"
    write(path, (record,))
    monkeypatch.undo()
    assert read_journal(path).records == (record,)


def test_half_a_line_on_a_full_disk_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    real = os.write
    taken: list[int] = []

    def full(handle: int, data: bytes) -> int:
        if taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken.append(real(handle, bytes(data[:30])))
        return taken[0]

    with Journal(path, HEAD, resume=False) as journal:
        journal.append(RECORDS[0])
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
                journal.append(RECORDS[1])
        assert taken == [30]
        journal.append(RECORDS[2])
    assert read_journal(path).records == (RECORDS[0], RECORDS[2])


def test_a_journal_that_cannot_be_synced_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal", HEAD, resume=False)
    closed: list[int] = []
    real = os.close

    def close(handle: int) -> None:
        closed.append(handle)
        real(handle)

    def failing(handle: int) -> None:
        raise OSError(errno.EIO, f"no sync of {handle}")

    monkeypatch.setattr(os, "fsync", failing)
    monkeypatch.setattr(os, "close", close)
    with pytest.raises(OSError, match="no sync"):
        journal.close()
    assert len(closed) == 1


def test_a_journal_without_a_whole_line_is_blank(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    head = write(path, ())
    assert not is_blank(path)
    for end in (0, 1, len(head) - 1):
        path.write_bytes(head[:end])
        assert is_blank(path)


def test_a_tear_at_any_byte_keeps_all_before_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    data = write(path)
    first = data.index(b"\n") + 1
    for cut in range(first, len(data) + 1):
        path.write_bytes(data[:cut])
        whole = [line for line in data[:cut].split(b"\n")[1:-1] if line.startswith(b'{"id"')]
        assert read_journal(path).records == RECORDS[: len(whole)], cut


@in_one_folder
@given(st.data())
def test_a_resumed_journal_goes_on_cleanly(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "journal"
    whole = write(path)
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: data.draw(st.integers(first, len(whole)))])
    before = read_journal(path)
    rest = RECORDS[len(before.records) :]
    with Journal(path, HEAD, resume=True) as journal:
        journal.digests("tiny", "gguf-q8_0", DIGESTS)
        for record in rest:
            journal.append(record)
    after = read_journal(path)
    assert after.head == HEAD
    assert after.records == RECORDS
    assert after.digests["tiny"]["gguf-q8_0"] == DIGESTS


@pytest.mark.parametrize("data", [b"", b"{", b'{"run_id": "x"'])
def test_a_journal_without_its_first_line_says_so(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"journal:1: the journal is empty .*without --resume"):
        read_journal(path)


def test_damage_before_the_last_line_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    lines = write(path).split(b"\n")
    for number, damaged in (
        (1, b'{"schema":"aprqa-journal/2"}'),
        (3, b'{"playbook": 3}'),
        (4, b""),
    ):
        broken = [*lines[: number - 1], damaged, *lines[number:]]
        path.write_bytes(b"\n".join(broken))
        with pytest.raises(
            InputError, match=rf"journal:{number}: the journal is damaged.*--resume"
        ):
            read_journal(path)


def test_a_missing_journal_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the file"):
        read_journal(tmp_path / "journal")
