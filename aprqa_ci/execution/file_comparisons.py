"""What one cell's files are compared with: judged in a child process, once for all its gates."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aprqa_ci.execution.checks.open_cell import Finding
from aprqa_ci.execution.child import CellChild, ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.derived_files import counterpart_format
from aprqa_ci.execution.engines.interface import EngineAbsentError, OptionValue
from aprqa_ci.execution.engines.registry import engine_for
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.lost_session import LostSessionError, lost_by
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.model_library import TRUTH_ENGINE
from aprqa_ci.execution.once import Once
from aprqa_ci.execution.protocol import (
    Answered,
    Derive,
    Derived,
    FilesJudged,
    JudgedFile,
    JudgeFiles,
    LoadFailed,
    Reply,
)
from aprqa_ci.execution.result import Cause
from aprqa_ci.execution.session_context import NOT_SHOWN
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.plan import PromptCase
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome

__all__ = ["ComparedWith", "FileComparisons", "writable_cache"]

_OF_APR_ITSELF = frozenset({"F-APR-FORMAT-003"})
"""What the tool of APR files says of one as it lies; all else is of the file converted from it."""
_OUTCOMES = {
    "corroborated": Outcome.CORROBORATED,
    "falsified": Outcome.FALSIFIED,
    "skipped": Outcome.SKIPPED,
}


def writable_cache(cache: Path, scratch: Path) -> Path:
    """Return our cache, or the scratch directory where the cache cannot be written.

    Nothing is made here: most runs keep nothing.
    """
    nearest = next(path for path in (cache, *cache.parents) if path.exists())
    usable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
    return cache if usable else scratch


@dataclass(frozen=True, kw_only=True)
class ComparedWith:
    """What the files of one cell are compared with, and how."""

    truth: ModelFiles | None
    settings: Comparisons
    weight_error: float
    """The most relative error of a tensor that the quantization allows."""
    root: Path
    """What the path of a reference file starts from."""
    cache: Path
    """Where converted files are kept."""
    apr: Mapping[str, OptionValue] = field(default_factory=dict)
    """What the converter of APR files is told."""


class FileComparisons:
    """Compares the files of one cell with others; see ``checks.open_cell.ComparedFiles``.

    Every process that it starts is a child with a time limit. What goes wrong there is never the
    model's fault; what the files themselves say is.

    Args:
        model: the cell's files.
        gates: the gates of the cell that files alone speak for.
        compared_with: what they are compared with.
        limits: how long that may take.
        spawn: starts a child process.
        asking: held while a child computes.
        answers: asks other files by the named engine; gives their answers, or why there are none.
        note: takes what was converted, and what came of it, for the certificate.
    """

    def __init__(
        self,
        model: ModelFiles,
        gates: tuple[str, ...],
        compared_with: ComparedWith,
        *,
        limits: Limits,
        spawn: Callable[[], CellChild],
        asking: Callable[[], AbstractContextManager[object]],
        answers: Callable[[ModelFiles, str, Sequence[PromptCase]], tuple[Answered, ...] | str],
        note: Callable[[ModelFiles, Derived], None],
    ) -> None:
        self._model = model
        self._gates = gates
        self._with = compared_with
        self._limits = limits
        self._spawn = spawn
        self._asking = asking
        self._answers = answers
        self._note = note
        self._once: Once[str, Mapping[str, Finding]] = Once()

    def judged(self, gate_id: str) -> Finding:
        """Return what the files say to a gate; all gates that it can be judged with are, at once.

        Raises:
            LostSessionError: our own comparison did not come to an end.
        """
        # What was lost is not tried again for each gate: a time-out may be long.
        itself = self._of_itself(gate_id)
        part = tuple(gate for gate in self._gates if self._of_itself(gate) == itself)
        key = "itself" if itself else "converted"
        judged = self._once.get(key, partial(self._judge, part, itself=itself))
        return judged[gate_id]

    def truth_answers(self, cases: Sequence[PromptCase]) -> tuple[Answered, ...] | str:
        """Return the ground truth's answers, or why there are none."""
        if self._with.truth is None:
            return "its files are not here"
        return self._answers(self._with.truth, TRUTH_ENGINE, cases)

    def converted_answers(self, cases: Sequence[PromptCase]) -> tuple[Answered, ...] | str:
        """Return the answers of the file that is converted from the cell's, or why not.

        Raises:
            LostSessionError: it could not be converted.
        """
        engine = TRUTH_ENGINE
        format_ = counterpart_format(self._model.format)
        if format_ is ModelFormat.GGUF:
            # SafeTensors are read by our own engine; a GGUF file is better read by another one.
            try:
                engine = engine_for(format_, Backend.CPU, asked=None).name
            except EngineAbsentError as error:
                return str(error)
        return self._answers(self.converted(), engine, cases)

    def _judge(self, gates: tuple[str, ...], *, itself: bool) -> Mapping[str, Finding]:
        request = JudgeFiles(
            gates=gates,
            model=self._model if itself else self.converted(),
            ground_truth=self._with.truth,
            settings=self._with.settings,
            limit=self._with.weight_error,
            root=self._with.root,
            apr=dict(self._with.apr),
        )
        reply = self._request(request, "comparing the files")
        if not isinstance(reply, FilesJudged):
            raise lost_by(reply)
        return {each.gate_id: _finding(each) for each in reply.findings}

    def _of_itself(self, gate_id: str) -> bool:
        """Whether a gate is judged on the file as it lies, and not on what is converted from it."""
        return self._model.format is not ModelFormat.APR or gate_id in _OF_APR_ITSELF

    def converted(self) -> ModelFiles:
        """Return the model in the other format, made from its files by a converter.

        Raises:
            LostSessionError: it could not be converted.
        """
        asked = Derive(model=self._model, cache=self._with.cache, apr=dict(self._with.apr))
        reply = self._request(asked, "converting the files")
        if isinstance(reply, LoadFailed):
            # The engine loaded what our converter does not read; that is no verdict on the model.
            cause = Cause(kind="infrastructure", word="not-converted")
            raise LostSessionError(cause, f"converting the files: {reply.message}")
        if not isinstance(reply, Derived):
            raise lost_by(reply)
        self._note(self._model, reply)
        return reply.files

    def _request(self, request: Derive | JudgeFiles, doing: str) -> Reply:
        if not self._model.weights:
            raise LostSessionError(NOT_SHOWN, f"{doing}: a server holds them and shows none")
        truth = self._with.truth
        size = self._model.size_bytes + (truth.size_bytes if truth else 0)
        try:
            with self._asking(), self._spawn() as child:
                return child.request(request, timeout_s=self._limits.comparison_seconds(size))
        except (ChildTimeoutError, ChildDiedError) as error:
            raise LostSessionError(
                Cause(kind="infrastructure", word="comparison-failed"),
                f"{doing}: {error}",
                stderr=error.stderr,
            ) from error


def _finding(judged: JudgedFile) -> Finding:
    kind, _, word = judged.cause.partition(":")
    return Finding(
        outcome=_OUTCOMES[judged.state],
        reason=judged.reason,
        figures=judged.figures,
        cause=Cause(kind=kind, word=word) if judged.cause else None,
    )
