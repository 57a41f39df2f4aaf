"""Sharded SafeTensors, and what goes wrong with them."""

import json
from pathlib import Path
from typing import Literal

from aprqa_ci.execution.formats.weights import TensorInfo
from aprqa_ci.selftest.transforms.place import one_file, tensors_of

__all__ = ["shard"]

_INDEX = "model.safetensors.index.json"


def shard(
    directory: Path,
    *,
    parts: int,
    damage: Literal["none", "missing", "swapped", "stale-index", "index-of-other"],
) -> None:
    """Split the weights into shards with an index, and damage the set.

    Args:
        directory: the model.
        parts: how many shards.
        damage: ``missing`` removes the last shard, ``swapped`` exchanges the names of the first
            two, ``stale-index`` names a tensor that no shard has and leaves out one that a shard
            has, ``index-of-other`` says of every tensor that it is in the first shard.
    """
    path = one_file(directory, "*.safetensors")
    tensors = tensors_of(path)
    data = path.read_bytes()
    names = sorted(tensors)
    groups = [names[number::parts] for number in range(parts)]
    files = [f"model-{number:05}-of-{parts:05}.safetensors" for number in range(1, parts + 1)]
    for file, group in zip(files, groups, strict=True):
        (directory / file).write_bytes(_encoded({name: tensors[name] for name in group}, data))
    path.unlink()
    places = {name: file for file, group in zip(files, groups, strict=True) for name in group}
    match damage:
        case "missing":
            (directory / files[-1]).unlink()
        case "swapped":
            first, second = directory / files[0], directory / files[1]
            kept = first.read_bytes()
            first.write_bytes(second.read_bytes())
            second.write_bytes(kept)
        case "stale-index":
            place = places.pop(names[0])
            places[names[0] + ".old"] = place
        case "index-of-other":
            places = dict.fromkeys(places, files[0])
        case "none":
            pass
    index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}}
    text = json.dumps({**index, "weight_map": dict(sorted(places.items()))}, indent=1)
    (directory / _INDEX).write_text(text, encoding="utf-8")


def _encoded(tensors: dict[str, TensorInfo], data: bytes) -> bytes:
    """Return a SafeTensors file of tensors that lie in ``data``."""
    header: dict[str, object] = {}
    pieces: list[bytes] = []
    size = 0
    for name, info in tensors.items():
        offsets = [size, size + info.nbytes]
        header[name] = {"dtype": info.dtype, "shape": list(info.shape), "data_offsets": offsets}
        pieces.append(data[info.offset : info.offset + info.nbytes])
        size = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(pieces)
