"""The commands of the stand-in for ``apr`` that are about files; see :mod:`tests.apr_standin`.

Its APR files are SafeTensors files under another name, with a mark in them. They show what is made
of the tool's reports and of the files that it leaves, and nothing of real APR files.
"""

import json
import os
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CONVERSIONS", "profile", "pull", "read", "rosetta", "validate", "write"]

RED, YELLOW, GREEN, END = "\x1b[1;31m", "\x1b[33m", "\x1b[1;32m", "\x1b[0m"
Tensors = dict[str, tuple[dict[str, Any], bytes]]


def read(path: Path) -> Tensors:
    """Return each tensor's entry and bytes, of a file or of all shards of an index."""
    if path.suffix == ".json":
        index = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        found: Tensors = {}
        for name in sorted(set(index.values())):
            found |= read(path.parent / name)
        return found
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    header.pop("__metadata__", None)
    return {
        name: (entry, body[entry["data_offsets"][0] : entry["data_offsets"][1]])
        for name, entry in header.items()
    }


def write(path: Path, tensors: Tensors) -> None:
    """Write them; an APR file has a mark."""
    header: dict[str, Any] = {"__metadata__": {"standin": path.suffix}}
    body = b""
    for name, (entry, data) in tensors.items():
        header[name] = entry | {"data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def kind(path: Path) -> str:
    """Return what the tool calls a format."""
    return {".apr": "APR", ".gguf": "GGUF"}.get(path.suffix, "SafeTensors")


def _right(source: Path, target: Path) -> None:
    write(target, read(source))


def _zeros(source: Path, target: Path) -> None:
    tensors = read(source)
    entry, data = tensors["model.norm.weight"]
    write(target, tensors | {"model.norm.weight": (entry, bytes(len(data)))})


def _lost(source: Path, target: Path) -> None:
    tensors = read(source)
    del tensors["model.norm.weight"]
    write(target, tensors)


def _beside(source: Path, target: Path) -> None:
    _right(source, target)
    target.with_name("model.converted.apr").write_bytes(b"x")


def _source(source: Path, target: Path) -> None:
    _right(source, target)
    os.utime(source, (1, 1))


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _unreadable(source: Path, target: Path) -> None:
    """Forth, and back to what nobody reads."""
    if target.suffix == ".apr":
        _right(source, target)
    else:
        target.write_bytes(b"no tensors at all")


CONVERSIONS: dict[str, Callable[[Path, Path], None]] = {
    "": _right,
    "zeros": _zeros,
    "lost": _lost,
    "beside": _beside,
    "source": _source,
    "unreadable": _unreadable,
    "copy": _copy,
    "link": lambda source, target: target.symlink_to(source),
    "hardlink": lambda source, target: target.hardlink_to(source),
    "nothing": lambda *_: None,
}
"""How a conversion is made, by the word of ``Behaviour.convert``: right, or wrong in one way."""


def rosetta(behaviour: Any, rest: list[str]) -> int:
    """Convert or inspect."""
    return {"convert": _convert, "inspect": _inspect}[rest[0]](behaviour, rest[1:])


def opened(path: Path) -> Tensors:
    try:
        return read(path)
    except (ValueError, struct.error, KeyError) as error:
        sys.stderr.write(f"error: Invalid APR format: {error}\n")
        sys.stderr.flush()
        os._exit(4)


def _inspect(behaviour: Any, rest: list[str]) -> int:
    path = Path(rest[-1])
    found = {
        "format": kind(path),
        "file_size": path.stat().st_size,
        "total_params": 1,
        "tensor_count": len(opened(path)),
        "architecture": "llama",
        "metadata_keys": 3,
    }
    print(json.dumps(found | behaviour.inspect, indent=2))  # noqa: T201 - its output
    return 0


def validate(behaviour: Any, rest: list[str]) -> int:
    """Look for what is no number in each tensor."""
    path = Path(rest[-1])
    verdicts = {name: _wrong(*tensor) for name, tensor in opened(path).items()}
    print(f"Validating {path}...\n")  # noqa: T201 - its output
    if behaviour.validate == "fewer":
        verdicts.popitem()
    if behaviour.validate == "other":
        verdicts["something.else"] = verdicts.popitem()[1]
    failed = sum(map(bool, verdicts.values()))
    count = 0 if behaviour.validate == "none" else len(verdicts)
    summary = f"VALID: {count} tensors checked, {failed} contract violations (CONTRACT-001)"
    rows = [
        f"│ {name} │ {RED}✗{END} {RED}FAIL{END} │ {why} │"
        if why
        else f"│ {name} │ {GREEN}✓{END} {GREEN}PASS{END} │          │"
        for name, why in verdicts.items()
    ]
    if behaviour.validate == "silent":
        return 0
    if behaviour.validate == "vague":
        print(json.dumps({"passed": False, "mismatched_tensors": 0}))  # noqa: T201 - its output
        return 0
    if behaviour.validate in {"none", "unnamed"}:
        rows = []
    print("\n".join([*rows, "", f"IN{summary}" if failed else summary]))  # noqa: T201 - its output
    if failed:
        sys.stderr.write("error: Validation failed: contract violations\n")
    return 5 if failed else 0


def pull(behaviour: Any, rest: list[str]) -> int:
    """Fetch from the directory that it was told, into its cache in the home."""
    repo = rest[-1]
    source = Path(behaviour.hub, repo)
    shown = [f"\x1b[1;36m=== APR Pull ==={END}", "", f"Model: \x1b[36m{repo}{END}"]
    if not source.is_dir():
        print("\n".join(shown))  # noqa: T201 - its output
        sys.stderr.write("error: Network error: Download failed: artifact not found\n")
        return 10
    if (source / "model.safetensors.index.json").exists():
        cache = Path(os.environ["HOME"], ".apr", "cache", "hf", repo)
        shutil.copytree(source, cache)
        path = cache / "model.safetensors.index.json"
    else:
        cache = Path(os.environ["HOME"], ".cache", "pacha", "models")
        cache.mkdir(parents=True)
        for each in source.iterdir():
            stem = "ab38e015b12ecacd"
            name = each.name.replace("model.", "") if "model." in each.name else each.name
            shutil.copyfile(each, cache / f"{stem}.{name}")
        path = cache / f"ab38e015b12ecacd.{behaviour.pulled}"
    shown += [f"{GREEN}✓{END} Downloaded successfully", f"  Path: {GREEN}{path}{END}", "", "Usage:"]
    print("\n".join([*shown, f"  apr run {path}"]))  # noqa: T201 - its output
    return 0


def profile(behaviour: Any, _: list[str]) -> int:
    """Report figures that a test makes up."""
    print(f"\x1b[1;36m=== APR Profile ==={END}\n")  # noqa: T201 - its output
    print(json.dumps(behaviour.profile))  # noqa: T201 - its output
    return 0


def _wrong(entry: dict[str, Any], data: bytes) -> str:
    kinds = {"F16": np.float16, "F32": np.float32}
    values = np.frombuffer(data, kinds[entry["dtype"]]) if entry["dtype"] in kinds else np.zeros(1)
    count = int(np.isnan(values).sum())
    return f"{count} NaN values" if count else ""


def _convert(behaviour: Any, rest: list[str]) -> int:
    source, target = Path(rest[0]), Path(rest[1])
    CONVERSIONS[behaviour.convert](source, target)
    count = len(read(source))
    shown = [
        f"\x1b[1;36m=== Rosetta Stone Conversion ==={END}",
        "",
        f"Source: {source}",
        f"Target: {target}",
        "",
        f"{YELLOW}Converting...{END}",
        "",
        f"\x1b[1;36m=== Conversion Summary ==={END}",
        f"Path: {kind(source)} → {kind(target)}",
        "Duration: 12ms",
        f"Tensors: {count} -> {count}",
        "",
        f"{GREEN}Conversion successful{END}",
    ]
    print("\n".join(shown))  # noqa: T201 - its output
    return 0
