"""The tests of one file by itself: its header, its storage types, where its tensors lie."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from aprqa_ci.execution.comparing.findings import Seen
from aprqa_ci.execution.examiners import FindExaminer
from aprqa_ci.execution.formats.ggml_types import GGML_TYPES, file_type_name
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.safetensors import SAFETENSORS_BITS, open_safetensors
from aprqa_ci.execution.formats.weights import FormatError, TensorInfo, UnsupportedFormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.integrity.subject import Subject
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["alignment", "examined_header", "header", "no_fallback", "storage_types"]

_GGML_BYTES = {kind.name: (kind.block_elements, kind.block_bytes) for kind in GGML_TYPES.values()}
_WIDE = frozenset({"F32", "F64"})
_GUESSED = 1024
"""Added to the file type by a converter that is not sure of it."""


def _files(model: ModelFiles) -> Iterator[tuple[Path, dict[str, TensorInfo], int]]:
    """Open each file in turn: its path, its tensors, and what their places are multiples of.

    A SafeTensors file has no alignment of its own (0): each tensor has that of its elements.
    """
    for path in model.weights:
        if model.format is ModelFormat.GGUF:
            with closing(open_gguf(path)) as gguf:
                yield path, dict(gguf.tensors), gguf.alignment
        elif model.format is ModelFormat.SAFETENSORS:
            with closing(open_safetensors([path])) as weights:
                yield path, dict(weights.tensors), 0
        else:
            what = f"files of {model.format} are not opened here"
            raise UnsupportedFormatError(path, what)


def _tensors(model: ModelFiles) -> list[tuple[TensorInfo, int]]:
    found = [(tensor, step) for _, tensors, step in _files(model) for tensor in tensors.values()]
    if not found:
        raise FormatError(model.weights[0], "the file holds no tensors")
    return found


def storage_types(model: ModelFiles) -> Seen:
    """FORMAT-001: every storage type is known, and a tensor's bytes are what it gives."""
    found = _tensors(model)
    counts: dict[str, int] = {}
    problems = []
    for tensor, _ in found:
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + 1
        expected = _bytes(tensor, model.format)
        if expected != tensor.nbytes:
            problems.append(f"{tensor.name} has {tensor.nbytes} bytes and not {expected}")
    said = ", ".join(f"{dtype} {count}" for dtype, count in sorted(counts.items()))
    return Seen(
        shown=f"{len(found)} tensors, stored as {said}",
        problems=problems,
        figures={"tensors": len(found), "types": counts},
    )


def _bytes(tensor: TensorInfo, format_: ModelFormat) -> int | None:
    """Return the bytes that a tensor's type and shape give; nothing for an unknown type."""
    if format_ is ModelFormat.SAFETENSORS:
        bits = SAFETENSORS_BITS.get(tensor.dtype)
        return None if bits is None else tensor.elements * bits // 8
    if tensor.dtype not in _GGML_BYTES:
        return None
    elements, size = _GGML_BYTES[tensor.dtype]
    return tensor.elements // elements * size


def alignment(model: ModelFiles) -> Seen:
    """FORMAT-002: every tensor begins where it may, and none overlaps another."""
    found = _tensors(model)
    problems = []
    ends: dict[Path, int] = {}
    for tensor, step in sorted(found, key=lambda each: (each[0].file, each[0].offset)):
        step_here = step or max(1, SAFETENSORS_BITS.get(tensor.dtype, 8) // 8)
        if tensor.offset % step_here:
            problems.append(
                f"{tensor.name} at byte {tensor.offset} is not aligned to {step_here} bytes"
            )
        if tensor.nbytes and tensor.offset < ends.get(tensor.file, 0):
            problems.append(f"{tensor.name} at byte {tensor.offset} overlaps the one before it")
        ends[tensor.file] = max(ends.get(tensor.file, 0), tensor.offset + tensor.nbytes)
    steps = sorted({step for _, step in found if step})
    wanted = f"{steps[0]} bytes" if steps else "the size of its elements"
    return Seen(
        shown=f"{len(found)} tensors, each aligned to {wanted}",
        problems=problems,
        figures={"tensors": len(found), "alignment": steps or None},
    )


def header(model: ModelFiles) -> Seen:
    """FORMAT-003: every header can be read to its end, and what it speaks of is in the file."""
    tensors, covered, size, problems = 0, 0, 0, []
    for path, found, _ in _files(model):
        total = path.stat().st_size
        end = max((tensor.offset + tensor.nbytes for tensor in found.values()), default=0)
        if end > total:
            problems.append(f"{path.name} ends at byte {total}, before byte {end}")
        tensors += len(found)
        covered += sum(tensor.nbytes for tensor in found.values())
        size += total
    if not tensors:
        raise FormatError(model.weights[0], "the file holds no tensors")
    return Seen(
        shown=f"{len(model.weights)} header(s) read; {tensors} tensors cover {covered} of the "
        f"{size} bytes",
        problems=problems,
        figures={"files": len(model.weights), "tensors": tensors, "bytes": covered, "size": size},
    )


def examined_header(model: ModelFiles, examiner: FindExaminer) -> Seen:
    """FORMAT-003 of an APR file: its tool reads it to the end, twice to the same count."""
    found, tool = Subject(model, examiner=examiner).examination
    size = model.size_bytes
    return Seen(
        shown=f"{tool} read the header of {size} bytes: {found.tensors} tensors, all looked at",
        figures={"files": 1, "tensors": found.tensors, "size": size, "read_by": tool},
    )


def no_fallback(model: ModelFiles) -> Seen:
    """I-3: no matrix is stored as F32 where the label says another type.

    The label is what the playbook asks for, else what the file or config.json says.
    """
    found = [tensor for tensor, _ in _tensors(model) if len(tensor.shape) > 1 and tensor.elements]
    if not found:
        what = "the file has no matrix"
        raise NotJudgedError(what)
    label = _label(model)
    wide = [tensor for tensor in found if tensor.dtype in _WIDE]
    problems = (
        [f"{tensor.name} is stored as {tensor.dtype}" for tensor in wide]
        if label not in _WIDE
        else []
    )
    return Seen(
        shown=f"the label says {label}; {len(wide)} of {len(found)} matrices are stored as F32",
        problems=problems,
        figures={"matrices": len(found), "label": label, "f32": [each.name for each in wide][:32]},
    )


def _label(model: ModelFiles) -> str:
    if model.quantization is not None:
        return model.quantization.upper()
    if model.format is ModelFormat.GGUF:
        with closing(open_gguf(model.weights[0])) as weights:
            number = weights.metadata.get("general.file_type")
        named = file_type_name(number & ~_GUESSED) if isinstance(number, int) else None
    else:
        config = read_json_object(model.directory / "config.json")
        said = config.get("dtype") or config.get("torch_dtype")
        named = _DTYPES.get(str(said).removeprefix("torch."))
    if named is None:
        what = "no label that is known here says how the weights are stored"
        raise NotJudgedError(what)
    return named


_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
