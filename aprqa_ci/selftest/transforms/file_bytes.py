"""Breaking files as downloads, disks and people do, whatever they hold."""

import random
from pathlib import Path
from typing import Literal

from aprqa_ci.selftest.transforms.place import NotApplicableError, one_file, tensors_of

__all__ = ["flip_bits", "overwrite", "remove", "replace", "truncate"]

Region = Literal["header", "tokenizer", "weights", "file"]
_TOKENIZER_KEY = b"tokenizer.ggml.tokens"


def truncate(directory: Path, *, file: str, share: float) -> None:
    """Cut a file to a share of its length."""
    path = one_file(directory, file)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip_bits(directory: Path, *, file: str, region: Region, count: int, seed: int) -> None:
    """Flip single bits at drawn places of a region of a file."""
    path = one_file(directory, file)
    data = bytearray(path.read_bytes())
    start, end = _bounds(path, bytes(data), region)
    drawn = random.Random(seed)  # noqa: S311 - which bits break is no secret, and must repeat
    for _ in range(count):
        data[drawn.randrange(start, end)] ^= 1 << drawn.randrange(8)
    path.write_bytes(data)


def _bounds(path: Path, data: bytes, region: Region) -> tuple[int, int]:
    if region == "file":
        return 0, len(data)
    first = min(info.offset for info in tensors_of(path).values())
    if region == "weights":
        return first, len(data)
    if region == "header":
        return 0, first
    at = data.find(_TOKENIZER_KEY, 0, first)
    if at < 0:
        what = f"{path.name} holds no tokenizer"
        raise NotApplicableError(what)
    return at + len(_TOKENIZER_KEY), first


def overwrite(directory: Path, *, file: str, offset: int, text: str) -> None:
    """Write other bytes over those at an offset; the file keeps its length."""
    path = one_file(directory, file)
    data = bytearray(path.read_bytes())
    new = text.encode("latin-1")
    data[offset : offset + len(new)] = new
    path.write_bytes(data)


def replace(
    directory: Path, *, file: str, source: str | None = None, text: str | None = None
) -> None:
    """Put another of the model's files, or a text, under the name of a file."""
    path = one_file(directory, file)
    data = (text or "").encode() if source is None else one_file(directory, source).read_bytes()
    path.write_bytes(data)


def remove(directory: Path, *, file: str) -> None:
    """Remove a file."""
    one_file(directory, file).unlink()
