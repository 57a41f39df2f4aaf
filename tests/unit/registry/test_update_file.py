import errno
import fcntl
import json
import multiprocessing
import os
import socket
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aprqa_ci.errors import AprqaError, InconclusiveError, InputError
from aprqa_ci.registry.lock import Process, file_lock, lock_path
from aprqa_ci.registry.models_csv import EMPTY_REGISTRY, Registry, read_registry
from aprqa_ci.registry.readme_table import TABLE_END, TABLE_START, update_readme
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.registry.update_file import read_registry_file, update_file

HERE = Process(
    pid=100,
    host="here",
    now=lambda: datetime(2026, 11, 2, tzinfo=UTC),
    is_alive=lambda pid: pid == 100,
    patience_s=0.0,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "models.csv"
    path.write_bytes(EMPTY_REGISTRY)
    return path


def write_lock(path: Path, **owner: object) -> Path:
    lock = lock_path(path)
    lock.write_text(json.dumps(owner))
    return lock


def test_a_row_is_written_once(path: Path, update: RowUpdate) -> None:
    change = update_file(path, update, process=HERE)
    assert {cell.column for cell in change.cells} >= {"model_id", "status", "mqs_score"}
    assert path.read_bytes() == change.registry.data
    assert read_registry_file(path).rows[0]["mqs_score"] == "931"
    before = path.stat()
    assert update_file(path, update, process=HERE).cells == ()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [entry.name for entry in path.parent.iterdir()] == ["models.csv"]


def test_what_is_to_stay_as_it_is_stays(path: Path, update: RowUpdate) -> None:
    asked: list[bytes] = []

    def why_not(registry: Registry) -> str:
        asked.append(registry.data)
        return "better stands"

    change = update_file(path, update, why_not=why_not, process=HERE)
    assert (change.declined, change.cells, change.registry.data) == (
        "better stands",
        (),
        EMPTY_REGISTRY,
    )
    assert path.read_bytes() == EMPTY_REGISTRY
    update_file(path, update, why_not=lambda _: None, process=HERE)
    # What is there already is not asked about.
    assert update_file(path, update, why_not=why_not, process=HERE).declined == ""
    assert asked == [EMPTY_REGISTRY]
    assert [entry.name for entry in path.parent.iterdir()] == ["models.csv"]


def test_a_missing_file_is_made_only_when_asked(tmp_path: Path, update: RowUpdate) -> None:
    path = tmp_path / "docs" / "models.csv"
    for _ in range(2):
        with pytest.raises(InputError, match="no such registry"):
            update_file(path, update, process=HERE)
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
    path.parent.rmdir()
    update_file(path, update, create=True, process=HERE)
    assert path.read_bytes().startswith(EMPTY_REGISTRY)
    update_file(path, replace(update, model_id="o/other"), create=True, process=HERE)
    assert len(read_registry_file(path).rows) == 2


def test_nothing_is_written_when_the_file_is_no_registry(path: Path, update: RowUpdate) -> None:
    path.write_bytes(b"model,score\nx,1\n")
    with pytest.raises(InputError, match="the header is not"):
        update_file(path, update, process=HERE)
    assert path.read_bytes() == b"model,score\nx,1\n"
    assert not lock_path(path).exists()


def test_a_faulty_update_touches_nothing(path: Path, update: RowUpdate) -> None:
    with pytest.raises(InputError, match="grade"):
        update_file(path, replace(update, grade="?"), process=HERE)
    assert path.read_bytes() == EMPTY_REGISTRY


def test_a_symbolic_link_stays_one(path: Path, update: RowUpdate, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.csv"
    link.symlink_to(path)
    update_file(link, update, process=HERE)
    assert link.is_symlink()
    assert len(read_registry_file(path).rows) == 1
    write_lock(path, pid=100, host="here", time="now")
    with pytest.raises(InputError, match="locked by"):
        update_file(link, replace(update, mqs_score=1), process=HERE)


def test_a_loop_of_links_is_an_input_error(tmp_path: Path, update: RowUpdate) -> None:
    loop = tmp_path / "models.csv"
    loop.symlink_to(loop)
    with pytest.raises(InputError):
        update_file(loop, update, process=HERE)


def test_a_folder_is_no_registry(tmp_path: Path, update: RowUpdate) -> None:
    (tmp_path / "models.csv").mkdir()
    with pytest.raises(InputError, match="not a regular file but a directory"):
        update_file(tmp_path / "models.csv", update, process=HERE)


@pytest.mark.parametrize("owner", [{"pid": 100, "host": "here"}, {"pid": 7, "host": "elsewhere"}])
def test_a_held_lock_stops_the_update(
    path: Path, update: RowUpdate, owner: dict[str, object]
) -> None:
    lock = write_lock(path, **owner, time="2026-11-01T00:00:00+00:00")
    with pytest.raises(InputError) as caught:
        update_file(path, update, process=HERE)
    assert f"locked by process '{owner['pid']}' on '{owner['host']}' since '2026-11" in str(
        caught.value
    )
    assert f"remove {lock}" in str(caught.value)
    assert path.read_bytes() == EMPTY_REGISTRY
    assert lock.exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "nonsense", '{"pid": "7", "host": "here"}', "[" * 9999]
)
def test_a_lock_that_says_nothing_is_believed(path: Path, update: RowUpdate, text: str) -> None:
    lock_path(path).write_text(text)
    with pytest.raises(InputError, match="locked by"):
        update_file(path, update, process=HERE)
    assert path.read_bytes() == EMPTY_REGISTRY


def test_the_lock_of_a_dead_process_is_taken_over(path: Path, update: RowUpdate) -> None:
    lock = write_lock(path, pid=99, host="here", time="2026-11-01T00:00:00+00:00")
    assert update_file(path, update, process=HERE).cells
    assert not lock.exists()


def test_the_lock_says_who_holds_it(path: Path) -> None:
    with file_lock(path, HERE):
        owner = json.loads(lock_path(path).read_text())
    assert owner == {"pid": 100, "host": "here", "time": "2026-11-02T00:00:00+00:00"}
    assert not lock_path(path).exists()


def test_the_lock_goes_with_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), file_lock(path, HERE):
        raise ZeroDivisionError
    assert not lock_path(path).exists()


def test_this_process_is_known_to_live(path: Path, update: RowUpdate) -> None:
    write_lock(path, pid=os.getpid(), host=socket.gethostname(), time="now")
    with pytest.raises(InputError, match="locked by"):
        update_file(path, update, process=Process(patience_s=0.0))


def test_a_lock_that_cannot_be_written(tmp_path: Path, update: RowUpdate) -> None:
    path = tmp_path / ("m" * 253)  # its lock file's name is longer than any file system takes
    path.write_bytes(EMPTY_REGISTRY)
    with pytest.raises(InputError, match="cannot write the lock file"):
        update_file(path, update, process=HERE)
    assert path.read_bytes() == EMPTY_REGISTRY


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, InconclusiveError),
        (errno.EROFS, InconclusiveError),
        (errno.EACCES, InputError),
    ],
)
def test_a_failed_write_is_the_fault_of_machine_or_user(
    path: Path,
    update: RowUpdate,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[AprqaError],
) -> None:
    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("aprqa_ci.registry.update_file.write_atomic", failing)
    with pytest.raises(error, match=f"{path}: .*{os.strerror(number)}"):
        update_file(path, update, process=HERE)
    assert path.read_bytes() == EMPTY_REGISTRY
    assert not lock_path(path).exists()


def test_a_lock_that_is_given_up_in_time_is_waited_for(path: Path, update: RowUpdate) -> None:
    lock = write_lock(path, pid=100, host="here", time="now")
    passed: list[float] = []

    def sleep(seconds: float) -> None:
        passed.append(seconds)
        if sum(passed) > 3:
            lock.unlink(missing_ok=True)

    patient = replace(HERE, patience_s=5.0, clock=lambda: sum(passed), sleep=sleep)
    assert update_file(path, update, process=patient).cells
    write_lock(path, pid=100, host="here", time="now")
    passed.clear()
    with pytest.raises(InputError, match="locked by"):
        update_file(path, update, process=replace(patient, patience_s=2.0))
    assert 2.0 <= sum(passed) < 2.2


def test_a_full_disk_leaves_no_lock_behind(
    path: Path, update: RowUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("aprqa_ci.registry.lock.json.dump", full)
        with pytest.raises(InconclusiveError, match="cannot write the lock file: No space"):
            update_file(path, update, process=HERE)
    assert not lock_path(path).exists()
    assert update_file(path, update, process=HERE).cells


def test_the_readme_is_written_under_the_lock(
    path: Path, update: RowUpdate, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = path.with_name("README.md")
    readme.write_text(f"{TABLE_START}\n{TABLE_END}\n")
    seen = []

    def looking(target: Path, registry: Registry) -> bool:
        seen.append(lock_path(path).exists())
        return update_readme(target, registry)

    monkeypatch.setattr("aprqa_ci.registry.update_file.update_readme", looking)
    update_file(path, update, readme=readme, process=HERE)
    assert seen == [True]
    assert update.model_id.partition("/")[2] in readme.read_text()
    update_file(path, update, readme=path.with_name("none.md"), process=HERE)
    assert seen == [True]


def test_only_one_process_at_a_time_judges_a_lock(path: Path) -> None:
    write_lock(path, pid=99, host="here", time="before")
    tried = []

    def is_dead(pid: int) -> bool:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tried.append(pid)
        finally:
            os.close(directory)
        return False

    with file_lock(path, replace(HERE, is_alive=is_dead)):
        pass
    assert tried == [99]


def write_rows(path: Path, update: RowUpdate, worker: int) -> None:
    for number in range(5):
        mine = replace(update, model_id=f"org{worker}/model-{number}")
        while True:
            try:
                update_file(path, mine)
            except InputError:
                continue
            break


def a_dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        return child.pid


def test_a_process_that_has_ended_is_known_to_be_gone(path: Path, update: RowUpdate) -> None:
    write_lock(path, pid=a_dead_process(), host=socket.gethostname(), time="before")
    assert update_file(path, update).cells


def test_a_process_that_cannot_exist_is_believed(path: Path, update: RowUpdate) -> None:
    write_lock(path, pid=1 << 80, host=socket.gethostname(), time="before")
    with pytest.raises(InputError, match="locked by"):
        update_file(path, update, process=Process(patience_s=0.0))


def test_no_update_is_lost_between_processes(path: Path, update: RowUpdate) -> None:
    # A dead process's lock is there at the start, so that all of them want to take it over.
    write_lock(path, pid=a_dead_process(), host=socket.gethostname(), time="before")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_rows, args=(path, update, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    rows = read_registry(path.read_bytes(), source=path).rows
    assert {row["model_id"] for row in rows} == {
        f"org{worker}/model-{number}" for worker in range(3) for number in range(5)
    }
    assert not lock_path(path).exists()
