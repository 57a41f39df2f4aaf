"""A disk that is full, failing or read-only, at every write.

Two ways. In one process, the n-th write of ``aprqa certify`` and all after it fail, for every n
where the disk is full and for every seventh where it is failing or read-only: making a file, a line
of the journal (of which half is written), and bringing a file to disk. And as root the real command
runs on real disks (tmpfs) from nearly nothing to enough, four blocks larger each time, and on one
that is mounted read-only. What must hold each time: exit code 3 and a message that says what
failed, no half-written file is left, and once there is space ``--resume`` comes to what an
undisturbed run comes to, with all that was recorded.

    python -m scripts.campaigns.filling --write
"""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from aprqa_ci.evidence.journal import JOURNAL_NAME
from scripts.campaigns.campaign import Campaign, parser, run_campaign
from scripts.campaigns.killing import Undisturbed, recorded, result_of, started, undisturbed
from scripts.campaigns.truncating import ran

__all__ = ["fail_at", "failing_writes"]

_CODES = (errno.ENOSPC, errno.EROFS, errno.EIO)
_NAME = "aprqa-tiny-quick"
_LIMIT_SECONDS = 300.0
_BLOCKS = 4 * 4096


class Writes:
    """Counts writes, and lets all fail from the n-th on."""

    def __init__(self, first: int, code: int) -> None:
        self._first, self._code = first, code
        self.count = 0

    def due(self) -> bool:
        """Count a write, and say whether it fails."""
        self.count += 1
        return self.count >= self._first

    def error(self) -> OSError:
        """Return what it fails with."""
        return OSError(self._code, os.strerror(self._code))


@contextmanager
def failing_writes(first: int, code: int) -> Iterator[Writes]:
    """Let every write of this process fail from the n-th on, counted from 1."""
    writes = Writes(first, code)
    make, sync, write = tempfile.mkstemp, os.fsync, os.write

    def mkstemp(*arguments: Any, **named: Any) -> tuple[int, str]:  # noqa: ANN401 - handed on
        if writes.due():
            raise writes.error()
        made: tuple[int, str] = make(*arguments, **named)
        return made

    def fsync(handle: int) -> None:
        if writes.due():
            raise writes.error()
        sync(handle)

    def half(handle: int, data: bytes) -> int:
        of_journal = Path(f"/proc/self/fd/{handle}").readlink().name == JOURNAL_NAME
        if not of_journal or not writes.due():
            return write(handle, data)
        write(handle, bytes(data[: len(data) // 2]))
        raise writes.error()

    with (
        mock.patch.object(tempfile, "mkstemp", mkstemp),
        mock.patch.object(os, "fsync", fsync),
        mock.patch.object(os, "write", half),
    ):
        yield writes


def fail_at(campaign: Campaign, folder: Path, expected: Undisturbed, first: int, code: int) -> bool:
    """Run with all writes failing from the n-th on, then resume; say whether any was left to fail.

    Args:
        campaign: counts.
        folder: an empty one.
        expected: what an undisturbed run comes to.
        first: the first write that fails.
        code: the error number.
    """
    case = f"{errno.errorcode[code]} at write {first}"
    command = _certify(folder)
    with failing_writes(first, code) as writes:
        ended, said = ran(folder, command)
    if writes.count < first:
        return False
    campaign.count(f"runs with {errno.errorcode[code]}")
    _check_failed(campaign, ended, said, os.strerror(code), case)
    _check_resumed(campaign, folder, expected, case, lambda: ran(folder, [*command, "--resume"])[0])
    return True


def _certify(folder: Path) -> list[str]:
    # The playbook is the one that the undisturbed run was of.
    playbook = str(folder.parent / "tiny.playbook.yaml")
    return ["certify", playbook, "--out", "out", "--registry", "models.csv"]


def _check_failed(campaign: Campaign, code: int | None, said: str, why: str, case: str) -> None:
    campaign.check("exit code 3", holds=code == 3, case=f"{case} ({code})")
    clear = why in said and "Traceback" not in said
    campaign.check("the message says what failed", holds=clear, case=case)


def _check_resumed(
    campaign: Campaign,
    folder: Path,
    expected: Undisturbed,
    case: str,
    resume: Callable[[], int | None],
) -> None:
    bundle = folder / "out" / _NAME
    known = recorded(bundle)
    left = [each for each in folder.rglob(".*") if each.is_file()]
    campaign.check("no half-written file is left", holds=not left, case=case)
    campaign.count("records at the failure", len(known))
    code = resume()
    campaign.check("resumed with the exit code of the undisturbed", holds=code == 0, case=case)
    if code != 0:
        return
    lost = known.items() - recorded(bundle).items()
    campaign.check("every record is in the final evidence", holds=not lost, case=case)
    same = result_of(folder) == expected.result
    campaign.check("final state as undisturbed", holds=same, case=case)


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a disk of so many bytes; only root may."""
    place = folder / "disk"
    place.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size},nr_inodes=0", "campaign", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)  # noqa: S607 - by its name


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)  # noqa: S607 - by its name


def on_small_disk(campaign: Campaign, folder: Path, expected: Undisturbed, size: int) -> bool:
    """Run on a disk of so many bytes, then on a larger one; say whether it was too small."""
    case = f"disk of {size} bytes"
    with _disk(folder, size) as place:
        ended, said = _on_disk(place)
        if ended == expected.exit_code:
            return False
        campaign.count("runs on a disk that was too small")
        _check_failed(campaign, ended, said, os.strerror(errno.ENOSPC), case)
        _mount("-o", "remount,size=64m", str(place))
        _check_resumed(campaign, place, expected, case, lambda: _on_disk(place, resume=True)[0])
    return True


def on_read_only_disk(campaign: Campaign, folder: Path, expected: Undisturbed) -> None:
    """Run on a disk that is mounted read-only, then on one that is not."""
    with _disk(folder, 64 << 20) as place:
        _mount("-o", "remount,ro", str(place))
        campaign.count("runs on a read-only disk")
        ended, said = _on_disk(place)
        _check_failed(campaign, ended, said, os.strerror(errno.EROFS), "read-only disk")
        _mount("-o", "remount,rw", str(place))
        _check_resumed(
            campaign,
            place,
            expected,
            "read-only disk",
            lambda: _on_disk(place, resume=True)[0],
        )


def _on_disk(place: Path, *, resume: bool = False) -> tuple[int, str]:
    # What the command says, and its scratch, are on the disk beside.
    log = place.parent / "log"
    log.write_bytes(b"")
    code = started(place, "small disk", resume=resume, beside=place.parent).wait(_LIMIT_SECONDS)
    return code, log.read_text(encoding="utf-8")


def main() -> int:
    """Run the campaign."""
    options = parser(__doc__ or "")
    options.add_argument("--step", type=int, default=1, help="leave out all but every n-th")
    told = options.parse_args()

    def work(campaign: Campaign) -> None:
        with tempfile.TemporaryDirectory(prefix="campaign-") as scratch:
            folder = Path(scratch)
            expected = undisturbed(_new(folder / "undisturbed"), questions=5)
            for code in _CODES:
                first = 1
                while fail_at(campaign, _new(folder / f"{code}-{first}"), expected, first, code):
                    first += told.step
            if os.geteuid() != 0:
                print("not root: no real disks", file=sys.stderr)
                return
            size = _BLOCKS
            while on_small_disk(campaign, folder, expected, size):
                size += _BLOCKS * told.step
            on_read_only_disk(campaign, folder, expected)

    return run_campaign("filling", work, write=told.write)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
