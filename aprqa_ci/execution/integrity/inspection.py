"""Inspecting a model: every G0 gate of its format, judged by reading its files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aprqa_ci.execution.examiners import FindExaminer, no_examiner
from aprqa_ci.execution.integrity.contents import judge_finite, judge_tensors
from aprqa_ci.execution.integrity.digests import digest_files
from aprqa_ci.execution.integrity.dimensions import (
    judge_config,
    judge_heads,
    judge_hidden,
    judge_layers,
    judge_vocabulary,
)
from aprqa_ci.execution.integrity.examined import judge_examined_names, judge_examined_tensors
from aprqa_ci.execution.integrity.finding import GateFinding, Observation, find
from aprqa_ci.execution.integrity.metadata import judge_metadata
from aprqa_ci.execution.integrity.storage import judge_storage
from aprqa_ci.execution.integrity.subject import Subject
from aprqa_ci.execution.integrity.tokenizing import judge_tokenizer
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.gates import inspect_gate_ids
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["Inspection", "inspect_model"]

_DIGEST = "G0-DIGEST-001"
_JUDGES: Mapping[str, Callable[[Subject], Observation]] = {
    "G0-INTEGRITY-CONFIG": judge_config,
    "G0-INTEGRITY-LAYERS": judge_layers,
    "G0-INTEGRITY-HIDDEN": judge_hidden,
    "G0-INTEGRITY-HEADS": judge_heads,
    "G0-INTEGRITY-VOCAB": judge_vocabulary,
    "G0-INTEGRITY-DTYPE": judge_storage,
    "G0-INTEGRITY-FINITE": judge_finite,
    "G0-TENSOR-001": judge_tensors,
    "G0-TOKENIZER-001": judge_tokenizer,
    "G0-METADATA-001": judge_metadata,
}
_EXAMINED: Mapping[str, Callable[[Subject], Observation]] = {
    "G0-INTEGRITY-FINITE": judge_examined_tensors,
    "G0-TENSOR-001": judge_examined_names,
}
"""The judges of APR files, which are not opened here."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the files of one model in one format say."""

    findings: tuple[GateFinding, ...]
    """One for each gate of the format, in the order of the catalogue."""
    digests: Mapping[str, str]
    """The SHA-256 of every file that was read whole, by its name below the model's directory."""


def inspect_model(
    model: ModelFiles,
    *,
    ground_truth: ModelFiles | None,
    expected: Mapping[str, int],
    examiner: FindExaminer = no_examiner,
) -> Inspection:
    """Read a model's files and judge every gate that :func:`aprqa_ci.gates.inspect_gate_ids` names.

    Loads no tensor whole: memory stays within what the tokenizer and the tensor directory take,
    whatever the size of the weights. Damage in a file falsifies the gates that need the file; what
    is merely not known here is skipped with the reason.

    Args:
        model: the files.
        ground_truth: the same model in SafeTensors, to compare GGUF metadata with.
        expected: the dimensions that the playbook declares, by the names of ``PlannedModel``.
        examiner: finds what looks into APR files.

    Raises:
        MemoryError: the machine has not enough memory.
    """
    subject = Subject(model, ground_truth=ground_truth, expected=expected, examiner=examiner)
    judges = _EXAMINED if model.format is ModelFormat.APR else _JUDGES
    digests: dict[str, str] = {}

    def judge_digests() -> Observation:
        seen, found = digest_files(model)
        digests.update(found)
        return seen

    findings = tuple(
        find(gate, judge_digests if gate == _DIGEST else partial(judges[gate], subject))
        for gate in inspect_gate_ids(model.format)
    )
    return Inspection(findings=findings, digests=digests)
