"""Choosing the weight files of one format in one directory, by their names alone.

The directory is one of this machine, or the listing of a repository of which nothing is here yet:
what is fetched is chosen by the very rules by which it is found again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import msgspec

from aprqa_ci.errors import InputError
from aprqa_ci.execution.file_tree import Disk, FileTree
from aprqa_ci.vocabulary import ModelFormat
from aprqa_ci.wire import decode_wire

__all__ = [
    "COMPANION_NAMES",
    "INDEX_NAME",
    "WeightFiles",
    "WeightsAbsentError",
    "WeightsFaultyError",
    "find_weights",
    "quantization_in_name",
    "weights_of_file",
]

INDEX_NAME = "model.safetensors.index.json"
"""The file that names the shards of a model in several SafeTensors files."""

COMPANION_NAMES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
)
"""The files beside the weights that decide what a model answers."""

_MAX_INDEX_BYTES = 64 << 20
_MAX_ENTRIES = 10_000
_MAX_NAMED = 8

_KNOWN_QUANTIZATION = re.compile(
    r"(?<![a-z0-9])"
    r"(bf16|fp?16|fp?32|mxfp4(?:_moe)?|i?q[1-8]_(?:[01]|k|xxs|xs|nl|s|m)(?:_(?:xl|xs|s|m|l))?"
    r"|tq[12]_0)"
    r"(?![a-z0-9_])"
)
_DISK = Disk()
_ALIASES = {"fp16": "f16", "fp32": "f32"}
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<part>\d{5})-of-(?P<total>\d{5})(?P<suffix>\.[a-z]+)")


class WeightsAbsentError(Exception):
    """The directory does not hold what is looked for; the message says what it holds."""


class WeightsFaultyError(Exception):
    """What is looked for is there and cannot be used: incomplete, ambiguous or badly named."""


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The weight files that were chosen."""

    weights: tuple[Path, ...]
    directory: Path
    """Where the configuration and the tokenizer are expected."""


class _Index(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of an index file; it comes with the model, so other keys are not ours."""

    weight_map: dict[str, str]


def quantization_in_name(name: str) -> str | None:
    """Return the quantization that a file name claims, in lower case, or nothing.

    The last known token counts: ``fine-tuned-from-f16.Q4_K_M.gguf`` claims ``q4_k_m``.
    """
    found = _KNOWN_QUANTIZATION.findall(name.lower())
    return _ALIASES.get(found[-1], found[-1]) if found else None


def find_weights(
    root: Path,
    *,
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    tree: FileTree = _DISK,
) -> WeightFiles:
    """Find the weights of ``format`` in ``root``, or in the folder below it named as the format.

    Args:
        root: where to look.
        format: the format wanted.
        quantization: what the name of a GGUF file must claim; without one there must be one file.
        tree: the files that ``root`` is of; this machine's, if no other is given.

    Raises:
        WeightsAbsentError: there are none.
        WeightsFaultyError: a shard is missing, several files match, or an index leads astray.
    """
    reasons = []
    for directory in (root / format.value, root):
        if not tree.is_directory(directory):
            reasons.append(f"{directory}: there is no such folder")
            continue
        try:
            weights = _weights_in(tree, directory, format, quantization)
        except WeightsAbsentError as error:
            reasons.append(str(error))
            continue
        home = root if not _configured(tree, directory) and _configured(tree, root) else directory
        return WeightFiles(weights=weights, directory=home)
    raise WeightsAbsentError("; ".join(reasons))


def weights_of_file(path: Path, *, format: ModelFormat, quantization: str | None) -> WeightFiles:  # noqa: A002 - the word of the field
    """Return the weights that a file named by the user stands for, with all its shards.

    Raises:
        WeightsAbsentError: the file is of another format or claims another quantization.
        WeightsFaultyError: a shard is missing.
    """
    if path.name.endswith(".safetensors.index.json"):
        if format is not ModelFormat.SAFETENSORS:
            msg = f"{path}: is an index of SafeTensors files, not {format.value}"
            raise WeightsAbsentError(msg)
        return WeightFiles(weights=_indexed(_DISK, path), directory=path.parent)
    if path.suffix.lower() != f".{format.value}":
        msg = (
            f"{path}: is not a .{format.value} file; "
            "a local_path that names the directory can hold several formats"
        )
        raise WeightsAbsentError(msg)
    claimed = quantization_in_name(path.name)
    if quantization is not None and claimed not in {None, _normal(quantization)}:
        msg = f"{path}: the name says {claimed}, not {quantization}"
        raise WeightsAbsentError(msg)
    if format is not ModelFormat.GGUF:
        return WeightFiles(weights=(path,), directory=path.parent)
    return WeightFiles(weights=_with_all_parts(_DISK, path), directory=path.parent)


def _weights_in(
    tree: FileTree, directory: Path, format_: ModelFormat, quantization: str | None
) -> tuple[Path, ...]:
    match format_:
        case ModelFormat.SAFETENSORS:
            return _safetensors_in(tree, directory)
        case ModelFormat.GGUF:
            return _gguf_in(tree, directory, quantization)
        case ModelFormat.APR:
            return (_only(directory, _files(tree, directory, ".apr"), "APR"),)


def _safetensors_in(tree: FileTree, directory: Path) -> tuple[Path, ...]:
    # The order of transformers: the whole model in one file wins over an index.
    single = directory / "model.safetensors"
    if tree.is_file(single):
        return (single,)
    index = directory / INDEX_NAME
    if tree.is_file(index):
        return _indexed(tree, index)
    files = _files(tree, directory, ".safetensors")
    if parts := [path.name for path in files if _SPLIT.fullmatch(path.name)]:
        msg = f"{directory}: {INDEX_NAME} is missing for the shards {_listed(parts)}"
        raise WeightsFaultyError(msg)
    return (_only(directory, files, "SafeTensors"),)


def _indexed(tree: FileTree, index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(
            set(
                decode_wire(
                    tree.read(index, _MAX_INDEX_BYTES), _Index, source=index
                ).weight_map.values()
            )
        )
    except InputError as error:
        raise WeightsFaultyError(str(error)) from error
    if not names:
        msg = f"{index}: the index names no file"
        raise WeightsFaultyError(msg)
    if astray := [name for name in names if not _stays_below(name)]:
        msg = f"{index}: the index leads out of its directory with {_listed(astray)}"
        raise WeightsFaultyError(msg)
    paths = tuple(index.parent / name for name in names)
    if missing := [path.name for path in paths if not tree.is_file(path)]:
        msg = f"{index}: {len(missing)} of {len(paths)} shards are missing: {_listed(missing)}"
        raise WeightsFaultyError(msg)
    return paths


def _stays_below(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        name.endswith(".safetensors")
        and name.isprintable()
        and "\\" not in name
        and not path.is_absolute()
        and ".." not in path.parts
    )


def _gguf_in(tree: FileTree, directory: Path, quantization: str | None) -> tuple[Path, ...]:
    # Repositories of large models keep each quantization in a folder of its own.
    folders = [directory, *(path for path in _entries(tree, directory) if tree.is_directory(path))]
    seen: list[str] = []
    for group in (folders[:1], folders[1:]):
        # A projector of images lies beside the language model and is not one.
        files = [
            path
            for folder in group
            for path in _files(tree, folder, ".gguf")
            if not path.name.lower().startswith("mmproj")
        ]
        seen += [path.name for path in files]
        wanted = [path for path in files if quantization is None or _claims(path, quantization)]
        firsts = {_first_of(path) for path in wanted}
        if len(firsts) > 1:
            names = sorted(path.name for path in firsts)
            hint = "" if quantization else "; name a quantization"
            msg = f"{directory}: {len(names)} GGUF files match: {_listed(names)}{hint}"
            raise WeightsFaultyError(msg)
        if wanted:
            return _with_all_parts(tree, wanted[0])
    label = "" if quantization is None else f" of {quantization}"
    held = f"; it has {_listed(seen)}" if seen else ""
    msg = f"{directory}: no GGUF file{label}{held}"
    raise WeightsAbsentError(msg)


def _claims(path: Path, quantization: str) -> bool:
    wanted = _normal(quantization)
    claimed = quantization_in_name(path.name)
    if claimed is not None:
        return claimed == wanted
    # Not a quantization that we know: a newer one, spelled out in the playbook.
    return bool(re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", path.name.lower()))


def _normal(quantization: str) -> str:
    lower = quantization.lower()
    return _ALIASES.get(lower, lower)


def _first_of(path: Path) -> Path:
    """Return the name that all parts of one split file have in common."""
    if found := _SPLIT.fullmatch(path.name):
        return path.with_name(f"{found['stem']}-of-{found['total']}{found['suffix']}")
    return path


def _with_all_parts(tree: FileTree, path: Path) -> tuple[Path, ...]:
    found = _SPLIT.fullmatch(path.name)
    if found is None:
        return (path,)
    total = int(found["total"])
    if not 1 <= int(found["part"]) <= total <= _MAX_ENTRIES:
        msg = f"{path}: a part with that number cannot be"
        raise WeightsFaultyError(msg)
    parts = tuple(
        path.with_name(f"{found['stem']}-{number:05d}-of-{total:05d}{found['suffix']}")
        for number in range(1, total + 1)
    )
    if missing := [part.name for part in parts if not tree.is_file(part)]:
        msg = f"{path.parent}: {len(missing)} of {total} parts are missing: {_listed(missing)}"
        raise WeightsFaultyError(msg)
    return parts


def _only(directory: Path, files: list[Path], what: str) -> Path:
    if not files:
        msg = f"{directory}: no {what} file"
        raise WeightsAbsentError(msg)
    if len(files) > 1:
        names = _listed([path.name for path in files])
        msg = f"{directory}: {len(files)} {what} files match: {names}"
        raise WeightsFaultyError(msg)
    return files[0]


def _files(tree: FileTree, directory: Path, suffix: str) -> list[Path]:
    return [
        path
        for path in _entries(tree, directory)
        if path.suffix.lower() == suffix and not path.name.startswith(".") and tree.is_file(path)
    ]


def _entries(tree: FileTree, directory: Path) -> list[Path]:
    """Return the entries in an order that does not depend on the file system."""
    return sorted(islice(tree.entries(directory), _MAX_ENTRIES))


def _configured(tree: FileTree, directory: Path) -> bool:
    return tree.is_file(directory / "config.json")


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:_MAX_NAMED])
    return shown if len(names) <= _MAX_NAMED else f"{shown} and {len(names) - _MAX_NAMED} more"
