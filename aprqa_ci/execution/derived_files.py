"""Files that are made from a model's files: to compare two formats, or as a format nobody has.

A derived file lies in a cache of ours under the digest of everything that decides its bytes: the
source's files, what is written, and the version of what writes it. So it is made once, is never
taken for a file of another source, and may be deleted at any time. It appears whole or not at all,
says what it was made from, and is read again before it is used.

No other program's cache is ever written to: the directories below the cache are made by us and are
never links, so that a link planted there cannot lead a write into somebody's model.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from aprqa_ci import __version__
from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines.interface import EngineAbsentError
from aprqa_ci.execution.formats.convert import (
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.integrity.digests import model_paths
from aprqa_ci.execution.model_files import ModelFiles, Origin
from aprqa_ci.execution.weight_files import INDEX_NAME
from aprqa_ci.files import sha256_file
from aprqa_ci.vocabulary import ModelFormat
from aprqa_ci.wire import WireModel, digest_of, pretty_json, read_wire

__all__ = [
    "ConvertsFiles",
    "Derivation",
    "DerivedFile",
    "FindConverter",
    "already_derived",
    "counterpart_format",
    "derive",
    "no_converter",
    "source_digest",
    "stored_precision",
]

_RECORD = "derived.json"
_NAMES = {
    ModelFormat.GGUF: "model.gguf",
    ModelFormat.SAFETENSORS: "model.safetensors",
    ModelFormat.APR: "model.apr",
}
_PRECISIONS: Mapping[str, str] = {"F16": "f16", "BF16": "bf16"}


@runtime_checkable
class ConvertsFiles(Protocol):
    """An engine that converts files between formats; the suffixes of the two paths name them.

    This is all that is asked of a converter of APR files: the engine named ``apr`` has it.
    """

    def convert(self, source: Path, target: Path) -> str:
        """Write ``target``, which is not there yet, and return the call that was made.

        Raises:
            EngineAbsentError: the converter is not here, or did not do what it says.
            ModelLoadError: it looked at the source and could not convert it.
            MemoryError: there is not enough memory.
        """
        ...


FindConverter: TypeAlias = Callable[[], tuple[ConvertsFiles, str]]
"""Returns the converter of APR files and its name with its version.

Raises:
    EngineAbsentError: there is none.
"""


def no_converter() -> tuple[ConvertsFiles, str]:
    """Stand for a machine that has no converter of APR files.

    Raises:
        EngineAbsentError: always.
    """
    what = "nothing here converts APR files"
    raise EngineAbsentError(what)


class Derivation(WireModel, frozen=True, kw_only=True):
    """What a derived file was made from, and how."""

    schema: Literal["aprqa-derived/1"] = "aprqa-derived/1"
    source_format: ModelFormat
    source: dict[str, str]
    """SHA-256 of each file of the source, by name."""
    format: ModelFormat
    precision: str
    """What the weights are written as, for example ``f16``; empty where the converter of APR files
    decides."""
    tool: str
    """What wrote it, with its version."""

    @property
    def key(self) -> str:
        """The SHA-256 that the derived file is kept under."""
        return digest_of(self)


class _Record(WireModel, frozen=True, kw_only=True):
    derivation: Derivation
    files: dict[str, str]
    """SHA-256 of each file that was made, by name."""


@dataclass(frozen=True, kw_only=True)
class DerivedFile:
    """A derived file, ready to be read."""

    files: ModelFiles
    derivation: Derivation
    digests: Mapping[str, str]
    """SHA-256 of each file that was made, by name."""
    made: bool
    """Whether it was made now, and not found."""


def counterpart_format(format: ModelFormat) -> ModelFormat:  # noqa: A002 - the word of the field
    """Return the format that a file of ``format`` is converted to when it is compared."""
    return ModelFormat.GGUF if format is ModelFormat.SAFETENSORS else ModelFormat.SAFETENSORS


def stored_precision(model: ModelFiles) -> str:
    """Return the precision that holds every number of SafeTensors weights: their own, or f32.

    Raises:
        FormatError: a file is damaged.
    """
    opened = open_safetensors(model.weights)
    types = {tensor.dtype for tensor in opened.tensors.values() if len(tensor.shape) > 1}
    opened.close()
    return _PRECISIONS.get(types.pop(), "f32") if len(types) == 1 else "f32"


def source_digest(source: Mapping[str, str]) -> str:
    """Return the one digest that stands for the SHA-256 of each file of a source by its name."""
    return digest_of(dict(source))


def already_derived(
    source: ModelFiles,
    *,
    cache: Path,
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    converter: FindConverter,
) -> DerivedFile | None:
    """Return the file that was made of SafeTensors, or nothing if it is not there, whole.

    Args:
        source: the SafeTensors.
        cache: our own cache directory.
        format: what was made of them.
        quantization: what they were written as.
        converter: finds what converts APR files.

    Raises:
        FormatError: the source is damaged.
        EngineAbsentError: there is no converter of APR files, whose version would be known.
        OSError: the cache or the source cannot be read, or a directory is a link.
    """
    derivation, _ = _derivation(source, format, quantization, converter)
    place = cache.resolve()
    for name in ("derived", derivation.key[:2], derivation.key):
        place /= name
        if not os.path.lexists(place):
            return None
        _require_own(place)
    found = _found(place, derivation)
    return None if found is None else _derived(place, found, source, made=False)


def derive(
    source: ModelFiles,
    *,
    cache: Path,
    converter: FindConverter,
    format: ModelFormat | None = None,  # noqa: A002 - the word of the field
    quantization: str | None = None,
) -> DerivedFile:
    """Return the source in another format; made if it is not there yet.

    SafeTensors become GGUF of their own precision, or of that which is asked for, or APR; GGUF and
    APR become SafeTensors with the same numbers.

    Args:
        source: the model.
        cache: our own cache directory; made if it is missing.
        converter: finds what converts APR files.
        format: what is made; without one, the format that the source is compared in.
        quantization: what SafeTensors are written as.

    Raises:
        FormatError: the source is damaged.
        UnsupportedFormatError: the architecture or a type is not known to our converter.
        EngineAbsentError: there is no converter of APR files, or it did not do what it says.
        ModelLoadError: the converter could not convert the source.
        OSError: the cache cannot be written, or one of its directories is a link.
        ValueError: nothing makes that format of the source.
    """
    wanted = counterpart_format(source.format) if format is None else format
    derivation, apr = _derivation(source, wanted, quantization, converter)
    place = _own_directory(cache, source, "derived", derivation.key[:2]) / derivation.key
    found = _found(place, derivation)
    if found is not None:
        return _derived(place, found, source, made=False)
    temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=".making-"))
    try:
        content = temporary / "content"
        _convert(source, content, derivation, apr)
        files = {path.name: sha256_file(path) for path in sorted(content.iterdir())}
        if files[_NAMES[derivation.format]] in derivation.source.values():
            # The bytes of one format are never those of another: a copy would be compared with
            # itself.
            what = f"{derivation.tool} made a copy of its source and called it {derivation.format}"
            raise EngineAbsentError(what)
        record = _Record(derivation=derivation, files=files)
        (content / _RECORD).write_bytes(pretty_json(record))
        return _put(content, place, record, source)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _our_converter() -> str:
    return f"aprqa-ci/{__version__} gguf/{version('gguf')}"


def _derivation(
    source: ModelFiles,
    format_: ModelFormat,
    quantization: str | None,
    converter: FindConverter,
) -> tuple[Derivation, ConvertsFiles | None]:
    """Say what is made of what, and by what; the converter of APR files only where it is needed."""
    apr: ConvertsFiles | None = None
    tool = _our_converter()
    match source.format, format_:
        case ModelFormat.SAFETENSORS, ModelFormat.GGUF:
            precision = quantization or stored_precision(source)
        case ModelFormat.GGUF, ModelFormat.SAFETENSORS:
            precision = "f32"
        case (ModelFormat.SAFETENSORS, ModelFormat.APR) | (
            ModelFormat.APR,
            ModelFormat.SAFETENSORS,
        ):
            precision = ""
            apr, tool = converter()
        case _:
            what = f"nothing makes {format_} of {source.format}"
            raise ValueError(what)
    derivation = Derivation(
        source_format=source.format,
        source=_digests(source),
        format=format_,
        precision=precision,
        tool=tool,
    )
    return derivation, apr


def _digests(source: ModelFiles) -> dict[str, str]:
    # A GGUF file has configuration and tokenizer in itself.
    paths = {path.name: path for path in source.weights}
    if source.format is not ModelFormat.GGUF:
        paths = model_paths(source)
    return {name: sha256_file(path) for name, path in sorted(paths.items())}


def _own_directory(cache: Path, source: ModelFiles, *names: str) -> Path:
    """Make directories below the cache; none of them may be a link."""
    path = cache.resolve()
    in_a_hub = any(part.startswith("models--") for part in path.parts)
    if in_a_hub or path == source.directory.resolve():
        what = f"{cache} is the directory of a model, which is never written to"
        raise OSError(what)
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        path /= name
        path.mkdir(exist_ok=True)
        _require_own(path)
    return path


def _require_own(path: Path) -> None:
    if not stat.S_ISDIR(path.lstat().st_mode):
        what = f"{path} is no directory of ours: it is a link or a file"
        raise OSError(what)


def _found(place: Path, derivation: Derivation) -> _Record | None:
    """Return the record of a derived file that is there and whole; a damaged one is removed."""
    try:
        place.lstat()
    except FileNotFoundError:
        return None
    _require_own(place)
    try:
        record = read_wire(place / _RECORD, _Record)
        if record.derivation == derivation and all(
            not (place / name).is_symlink() and sha256_file(place / name) == digest
            for name, digest in record.files.items()
        ):
            return record
    except (InputError, OSError):
        pass  # not whole, like one whose digests are others
    shutil.rmtree(place)
    return None


def _convert(
    source: ModelFiles, content: Path, derivation: Derivation, apr: ConvertsFiles | None
) -> None:
    if derivation.format is ModelFormat.GGUF:
        convert_safetensors_to_gguf(
            source.directory,
            content / _NAMES[ModelFormat.GGUF],
            derivation.precision,
            weights=source.weights,
        )
    elif apr is None:
        convert_gguf_to_safetensors(source.weights[0], content, derivation.precision)
    else:
        content.mkdir()
        apr.convert(_whole(source), content / _NAMES[derivation.format])
        # Configuration and tokenizer lie beside the weights, and decide the answers.
        for path in model_paths(source).values():
            if path not in source.weights and path.name != INDEX_NAME:
                shutil.copyfile(path, content / path.name)


def _whole(source: ModelFiles) -> Path:
    """Return the one path that stands for all weights: the file, or the index of the shards."""
    return source.weights[0] if len(source.weights) == 1 else source.directory / INDEX_NAME


def _put(content: Path, place: Path, record: _Record, source: ModelFiles) -> DerivedFile:
    try:
        content.rename(place)
    except OSError:
        # Another run was faster, and what it made serves as well.
        found = _found(place, record.derivation)
        if found is None:
            raise
        return _derived(place, found, source, made=False)
    return _derived(place, record, source, made=True)


def _derived(place: Path, record: _Record, source: ModelFiles, *, made: bool) -> DerivedFile:
    derivation = record.derivation
    format_ = derivation.format
    os.utime(place)
    return DerivedFile(
        files=ModelFiles(
            format=format_,
            weights=(place / _NAMES[format_],),
            directory=place,
            source="derived",
            origin=Origin(
                # What the source itself was made from is told where that is run.
                files=replace(source, origin=None),
                digest=source_digest(derivation.source),
                tool=derivation.tool,
            ),
        ),
        derivation=derivation,
        digests=record.files,
        made=made,
    )
