"""Judging all gates of a cell that only files are needed for, each file opened once."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from aprqa_ci.execution.comparing import structure_tests, tensor_tests
from aprqa_ci.execution.comparing.comparison import Comparison
from aprqa_ci.execution.comparing.findings import FileTestFinding, Seen, find
from aprqa_ci.execution.comparing.logits_test import same_logits
from aprqa_ci.execution.comparing.named_tensors import NamedTensors
from aprqa_ci.execution.comparing.statistics import TensorStatisticsFile, read_reference
from aprqa_ci.execution.comparing.tokenizer_test import same_tokenizer
from aprqa_ci.execution.examiners import FindExaminer, no_examiner
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["FILE_TESTS", "FileTests", "judge_files"]


class FileTests:
    """The tests of one model's files; what they share is opened at the first need.

    Args:
        model: the model.
        truth: what it must agree with, if there is anything.
        settings: what the playbook says of the comparisons.
        limit: the most relative error of a tensor that the quantization allows.
        root: what the path of the reference file starts from.
        examiner: finds what looks into APR files.
        stack: closes what was opened.
    """

    def __init__(
        self,
        model: ModelFiles,
        truth: ModelFiles | None,
        *,
        settings: Comparisons,
        limit: float,
        root: Path,
        examiner: FindExaminer,
        stack: ExitStack,
    ) -> None:
        self.model = model
        self.settings = settings
        self.limit = limit
        self._truth = truth
        self._root = root
        self._examiner = examiner
        self._stack = stack

    @cached_property
    def comparison(self) -> Comparison:
        """The model's tensors beside the ground truth's."""
        ours = self._stack.enter_context(NamedTensors(self.model))
        truth = self._truth
        return Comparison(
            ours,
            None if truth is None else lambda: self._stack.enter_context(_ground_truth(truth)),
        )

    @cached_property
    def reference(self) -> TensorStatisticsFile | None:
        """The playbook's file of statistics; absent where the ground truth takes its place."""
        path = self.settings.reference
        return None if path is None else read_reference(self._root / path)

    def header(self) -> Seen:
        """Read the header, or let the tool of the format read it."""
        if self.model.format is ModelFormat.APR:
            return structure_tests.examined_header(self.model, self._examiner)
        return structure_tests.header(self.model)

    def same_logits(self) -> Seen:
        """Compare logits with the ground truth's."""
        truth = self.comparison.truth.files
        return same_logits(
            self.model,
            truth,
            prompt=self.settings.prompt,
            max_tokens=self.settings.max_tokens,
            tolerance=self.settings.logit_tolerance,
        )

    def kept_statistics(self) -> Seen:
        """Compare the statistics that the playbook selects."""
        settings = self.settings
        return tensor_tests.kept_statistics(
            self.comparison, settings.fingerprint, self.limit, settings.statistics
        )

    def same_tokenizer(self) -> Seen:
        """Compare tokenizers."""
        return same_tokenizer(self.model, self._truth)


def _ground_truth(files: ModelFiles) -> NamedTensors:
    """Open the ground truth; that it cannot be read is no fault of the model under test."""
    try:
        return NamedTensors(files)
    except FormatError as error:
        what = f"the ground truth cannot be read: {error}"
        raise NotJudgedError(what) from error


FILE_TESTS: Mapping[str, Callable[[FileTests], Seen]] = {
    "F-CONTRACT-I2-001": lambda tests: tensor_tests.same_names(tests.comparison),
    "F-CONTRACT-I3-001": lambda tests: structure_tests.no_fallback(tests.model),
    "F-CONTRACT-I4-001": lambda tests: tensor_tests.kept_statistics(
        tests.comparison, (), tests.limit
    ),
    "F-CONTRACT-I5-001": FileTests.same_tokenizer,
    "F-APR-FORMAT-001": lambda tests: structure_tests.storage_types(tests.model),
    "F-APR-FORMAT-002": lambda tests: structure_tests.alignment(tests.model),
    "F-APR-FORMAT-003": FileTests.header,
    "F-ROSETTA-DIFF-001": lambda tests: tensor_tests.orientation(
        tests.comparison, tests.settings.tensors, tests.limit
    ),
    "F-ROSETTA-DIFF-002": lambda tests: tensor_tests.same_shapes(
        tests.comparison, tests.settings.tensors
    ),
    "F-ROSETTA-INF-002": FileTests.same_logits,
    "F-ROSETTA-FP-001": lambda tests: tensor_tests.finite_statistics(
        tests.comparison, tests.settings.fingerprint
    ),
    "F-ROSETTA-FP-002": lambda tests: tensor_tests.checksums(
        tests.comparison, tests.settings.fingerprint
    ),
    "F-ROSETTA-FP-003": FileTests.kept_statistics,
    "F-ROSETTA-STATS-001": lambda tests: tensor_tests.reference_statistics(
        tests.comparison, tests.reference, "layernorm", tests.settings.layernorm
    ),
    "F-ROSETTA-STATS-002": lambda tests: tensor_tests.reference_statistics(
        tests.comparison, tests.reference, "embedding", tests.settings.embedding
    ),
    "F-ROSETTA-STATS-003": lambda tests: tensor_tests.reference_statistics(
        tests.comparison, tests.reference, "attention", tests.settings.attention
    ),
    "F-ROSETTA-STATS-004": lambda tests: tensor_tests.reference_coverage(
        tests.comparison, tests.reference
    ),
    "F-ROSETTA-STATS-005": lambda tests: tensor_tests.norm_means(tests.comparison),
    "F-ROSETTA-STATS-006": lambda tests: tensor_tests.norm_deviations(tests.comparison),
}
"""The tests by gate id."""


def judge_files(
    gates: Iterable[str],
    model: ModelFiles,
    truth: ModelFiles | None,
    *,
    settings: Comparisons,
    limit: float,
    root: Path,
    examiner: FindExaminer = no_examiner,
) -> tuple[FileTestFinding, ...]:
    """Judge gates by the files alone.

    Args:
        gates: ids of :data:`FILE_TESTS`.
        model: the model, in a format that is read here.
        truth: what it must agree with, if there is anything.
        settings: what the playbook says of the comparisons.
        limit: the most relative error of a tensor that the quantization allows.
        root: what the path of the reference file starts from.
        examiner: finds what looks into APR files.

    Raises:
        KeyError: a gate needs more than files.
    """
    with ExitStack() as stack:
        tests = FileTests(
            model,
            truth,
            settings=settings,
            limit=limit,
            root=root,
            examiner=examiner,
            stack=stack,
        )
        return tuple(find(gate, lambda gate=gate: FILE_TESTS[gate](tests)) for gate in gates)  # type: ignore[misc] # a default binds the loop's value
