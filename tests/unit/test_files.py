import errno
import hashlib
import os
import re
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import AprqaError, InconclusiveError, InputError
from aprqa_ci.files import (
    path_below,
    read_bounded,
    sha256_bytes,
    sha256_file,
    slug,
    unwritable,
    write_atomic,
)


def test_digests_are_sha256(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    path = tmp_path / "data"
    path.write_bytes(data)
    assert sha256_file(path) == sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_a_write_makes_the_directory_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


def test_a_new_file_is_for_all_to_read_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    write_atomic(path, b"two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_write_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=re.escape(f"'{tmp_path / 'file' / 'below'}'")):
        write_atomic(tmp_path / "file" / "below", b"x")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, InconclusiveError),
        (errno.EDQUOT, InconclusiveError),
        (errno.EIO, InconclusiveError),
        (errno.EROFS, InconclusiveError),
        (errno.EACCES, InputError),
        (errno.ENOTDIR, InputError),
    ],
)
def test_a_full_disk_is_the_machines_fault(number: int, error: type[AprqaError]) -> None:
    found = unwritable(Path("a/b"), OSError(number, "words"), what="no report")
    assert type(found) is error
    assert str(found) == "a/b: no report: words"


def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def broken(descriptor: int) -> None:
        raise OSError(28, f"No space left on device {descriptor}")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(InputError, match="larger than 4 bytes"):
        read_bounded(path, 4)


def test_what_cannot_be_read_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing: cannot read the file: No such file"):
        read_bounded(tmp_path / "nothing", 5)
    with pytest.raises(InputError, match=r"a directory \(name a file in it\)"):
        read_bounded(tmp_path, 5)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    # Nobody writes to the pipe: whoever waits for a writer waits for ever.
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "linked").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path, why in (
            (tmp_path / "pipe", "not a regular file but a pipe"),
            (tmp_path / "linked", "not a regular file but a pipe"),
            (tmp_path / "socket", "cannot read the file"),
            (Path("/dev/zero"), "not a regular file but a device"),
            (tmp_path, "directory"),
        ):
            before = set(Path("/dev/fd").iterdir())
            with pytest.raises(InputError, match=why):
                read_bounded(path, 5)
            assert set(Path("/dev/fd").iterdir()) == before


@pytest.mark.parametrize("name", ["a", "a/b", "a/../b", "./a"])
def test_names_below_the_root_are_kept(tmp_path: Path, name: str) -> None:
    assert path_below(tmp_path, name).is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/../..", "/etc/passwd", "link/a"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out"):
        path_below(tmp_path / "root", name)


@given(st.text())
def test_a_slug_is_one_plain_file_name(name: str) -> None:
    made = slug(name)
    assert made
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
    assert made not in {".", ".."}
    assert not made.startswith((".", "-"))
    assert slug(made) == made


def test_slugs_stay_readable() -> None:
    assert slug("Qwen/Qwen2.5 Coder") == "qwen-qwen2.5-coder"
    assert slug("…") == "unnamed"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "x" * 5000])
def test_what_can_be_no_file_is_an_input_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        read_bounded(tmp_path / name, 10)
    try:
        path_below(tmp_path, name)
    except InputError as error:
        assert "is no name of a file" in str(error)  # noqa: PT017 - a long name may be resolved


def test_a_circle_of_links_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(InputError, match="is no name of a file"):
        path_below(tmp_path, "a/c")
