"""The gate that compares how the weights are stored with what the labels say."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aprqa_ci.execution.formats.ggml_types import GGML_TYPES, file_type_name
from aprqa_ci.execution.formats.weights import TensorInfo
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation, listed
from aprqa_ci.execution.integrity.subject import Subject
from aprqa_ci.execution.weight_files import quantization_in_name

__all__ = ["judge_storage"]

_DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "half": "F16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
# The router of a mixture of experts is often kept in a wider type than the experts.
_ROUTER = re.compile(r"(?:^|\.)(?:router|gate|ffn_gate_inp)\.")

_GUESSED = 1024
"""Added to the file type by a converter that is not sure of it."""

# The type that most of a mixture is stored in, where the label's name does not say it.
_MOSTLY = {"iq2_s": "IQ2_XS", "iq2_m": "IQ2_S", "iq3_xs": "IQ3_S", "iq3_m": "IQ3_S"}
_MIXTURE_SUFFIX = re.compile(r"(?<=_k)_(?:xs|s|m|l|xl)$|(?<=^mxfp4)_moe$")

# What llama.cpp stores instead where the rows are not whole blocks of 256.
_FALLBACK = {
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    "TQ1_0": "Q4_0",
    "TQ2_0": "Q4_0",
}
_OTHER_FALLBACK = "IQ4_NL"
_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_BITS = {kind.name: kind.block_bytes * 8 / kind.block_elements for kind in GGML_TYPES.values()}
_BLOCK = {kind.name: kind.block_elements for kind in GGML_TYPES.values()}
_UNIFORM = frozenset({"F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"})
"""Labels that promise at least this precision in every layer; the others name a mixture."""


@dataclass(frozen=True, kw_only=True)
class _Label:
    source: str
    text: str

    @property
    def mostly(self) -> str:
        """The type that most of the weights have under this label."""
        return _MOSTLY.get(self.text, _MIXTURE_SUFFIX.sub("", self.text).upper())


def judge_storage(subject: Subject) -> Observation:
    """Compare the storage types of the matrices with the labels."""
    matrices = _matrices(subject)
    counts = _elements_by_type(matrices)
    total = sum(counts.values())
    stored = ", ".join(
        f"{dtype} {100 * count / total:.1f} %"
        for dtype, count in sorted(counts.items(), key=lambda entry: -entry[1])
    )
    labels = _gguf_labels(subject) if subject.is_gguf else [_config_label(subject)]
    problems = [problem for label in labels for problem in _problems(label, matrices)]
    said = ", ".join(f"{label.source} {label.text}" for label in labels)
    return Observation(
        problems=tuple(problems),
        shown=f"{said}; the {len(matrices)} matrices are stored as {stored}",
        details=f"labels: {said}\nmatrices by elements: {stored}",
    )


def _matrices(subject: Subject) -> list[TensorInfo]:
    """Return the matrices of the layers; vectors are kept in full precision everywhere."""
    survey = subject.survey
    found = list(survey.matrices)
    if not subject.is_gguf:
        # A GGUF file keeps embedding and output in more bits than its label says, on purpose.
        found += [tensor for tensor in (survey.embedding, survey.output) if tensor is not None]
    if not found:
        found = [tensor for tensor in subject.weights.tensors.values() if len(tensor.shape) > 1]
    kept = [tensor for tensor in found if not _ROUTER.search(tensor.name) and tensor.elements]
    if not kept:
        msg = "there is no matrix whose storage type could be compared"
        raise NotJudgedError(msg)
    return kept


def _config_label(subject: Subject) -> _Label:
    claims = subject.claims
    if claims.quantized:
        msg = "the weights are stored in a quantized form whose types are not known here"
        raise NotJudgedError(msg)
    if claims.dtype is None:
        msg = "config.json does not say how the weights are stored"
        raise NotJudgedError(msg)
    known = _DTYPES.get(claims.dtype.removeprefix("torch."))
    if known is None:
        msg = f"the dtype {claims.dtype!r} of config.json is not known here"
        raise NotJudgedError(msg)
    return _Label(source="config.json says", text=known.lower())


def _gguf_labels(subject: Subject) -> list[_Label]:
    labels = []
    number = subject.weights.metadata.get("general.file_type")
    if isinstance(number, int) and (known := file_type_name(number & ~_GUESSED)):
        labels.append(_Label(source="general.file_type says", text=known.lower()))
    if named := quantization_in_name(subject.files.weights[0].name):
        labels.append(_Label(source="the file's name says", text=named))
    if asked := subject.files.quantization:
        labels.append(_Label(source="the playbook asks for", text=asked.lower()))
    known_labels = [label for label in labels if label.mostly in _BITS]
    if not known_labels:
        msg = "no label that is known here says how the weights are stored"
        raise NotJudgedError(msg)
    return known_labels


def _problems(label: _Label, matrices: list[TensorInfo]) -> list[str]:
    mostly = label.mostly
    fitting = [tensor for tensor in matrices if _fits(tensor, mostly)]
    strange = [tensor for tensor in matrices if not _fits(tensor, mostly)]
    others = _elements_by_type(strange)
    said = f"{label.source} {label.text}"
    held = sum(tensor.elements for tensor in fitting)
    if held < max(others.values(), default=0) or not fitting:
        most = max(others, key=lambda dtype: others[dtype])
        return [f"{said}, and most of the weights are stored as {most}"]
    if mostly not in _UNIFORM:
        return []
    wrong = [tensor for tensor in strange if _narrower(tensor, mostly)]
    if not wrong:
        return []
    return [f"{said}, and {listed(f'{tensor.name} is {tensor.dtype}' for tensor in wrong)}"]


def _fits(tensor: TensorInfo, mostly: str) -> bool:
    if tensor.dtype == mostly:
        return True
    block = _BLOCK.get(mostly, 1)
    if block == 1 or not tensor.shape[-1] % block:
        return False
    return tensor.dtype == _FALLBACK.get(mostly, _OTHER_FALLBACK)


def _narrower(tensor: TensorInfo, label: str) -> bool:
    """Whether the tensor holds less than the label promises."""
    if label in _FLOATS:
        # Half precision of the other kind is as many bits and other numbers.
        return tensor.dtype not in {"F32", "F64"}
    return _BITS.get(tensor.dtype, 0) < _BITS[label]


def _elements_by_type(tensors: Iterable[TensorInfo]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.elements
    return counts
