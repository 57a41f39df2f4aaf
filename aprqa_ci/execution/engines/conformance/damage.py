"""Damaged copies of a model's files: each must be refused by whoever reads it."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from aprqa_ci.execution.model_files import ModelFiles

__all__ = ["damaged_copies"]

_MOST_COPIED = 4 << 20
"""The most bytes of a damaged file: its head, which says that there is more."""
_MOST_COMPANION = 256 << 20


def _cut(head: bytes, size: int) -> bytes:
    return head[: min(len(head), size // 2)]


def _overwritten(head: bytes, _: int) -> bytes:
    return b"\xff" * min(64, len(head)) + head[64:]


def _foreign(_: bytes, __: int) -> bytes:
    return b"<!DOCTYPE html><html><body>404: not found</body></html>\n"


def _empty(_: bytes, __: int) -> bytes:
    return b""


_DAMAGES: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "cut off": _cut,
    "overwritten at their head": _overwritten,
    "a web page": _foreign,
    "empty": _empty,
}


def damaged_copies(model: ModelFiles, scratch: Path) -> Iterator[tuple[str, ModelFiles]]:
    """Make one copy after the other, each with another damage to its first weight file.

    Args:
        model: the sound model.
        scratch: where the copies go; each is removed before the next is made.

    Yields:
        What is wrong with the weights, and the files.
    """
    first = model.weights[0]
    size = first.stat().st_size
    with first.open("rb") as stream:
        head = stream.read(_MOST_COPIED)
    for number, (what, damage) in enumerate(_DAMAGES.items()):
        directory = scratch / f"damaged-{number}"
        copied = _companions(model, directory)
        (directory / first.name).write_bytes(damage(head, size))
        yield what, copied
        shutil.rmtree(directory)
    directory = scratch / "damaged-missing"
    yield "missing", _companions(model, directory)
    shutil.rmtree(directory)


def _companions(model: ModelFiles, directory: Path) -> ModelFiles:
    """Link everything but the first weight file."""
    directory.mkdir(parents=True)
    weights = {path.name for path in model.weights}
    first = model.weights[0]
    for path in (*model.weights[1:], *sorted(model.directory.iterdir())):
        target = directory / path.name
        other = path.name not in weights and path.suffix in {first.suffix, ".gguf", ".safetensors"}
        if path.name == first.name or other or target.exists() or not path.is_file():
            continue
        if path.stat().st_size <= _MOST_COMPANION or path.name in weights:
            target.symlink_to(path.resolve())
    return replace(
        model,
        weights=tuple(directory / path.name for path in model.weights),
        directory=directory,
    )
