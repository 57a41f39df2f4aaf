"""What the cells of one run share about models: files, G0 findings, ground truth answers.

Each is made once per run, however many cells need it: a model is read, hashed and scanned once, not
once per modality.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from aprqa_ci.execution.child import CellChild, ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.converters import apr_converter
from aprqa_ci.execution.derivable import Derivable, find_model
from aprqa_ci.execution.engines.interface import OptionValue, Sampling
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.made_files import make_files
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.once import Once
from aprqa_ci.execution.protocol import (
    Answered,
    Ask,
    Derived,
    Inspect,
    Inspected,
    InspectedGate,
    Open,
    Opened,
    Reply,
)
from aprqa_ci.execution.resolve import ModelNotFoundError, located_model, own_cache
from aprqa_ci.execution.result import DerivedSource, ModelSource
from aprqa_ci.planning.identifiers import as_sources, derived_name, variant_name
from aprqa_ci.planning.plan import GroundTruth, PlannedPlaybook, PromptCase
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

__all__ = ["TRUTH_ENGINE", "InspectionFailedError", "ModelLibrary"]

_Key = tuple[str, ModelFormat, str | None]
TRUTH_ENGINE = "reference"
"""The engine that says what the ground truth answers."""


class InspectionFailedError(Exception):
    """Our own inspection did not come to an end; says nothing of the model."""


class ModelLibrary:
    """Finds, inspects and compares models for all cells of a run; safe for several threads."""

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        home: Path,
        root: Path,
        limits: Limits,
        spawn: Callable[[], CellChild],
        digests: Callable[[str, str, Mapping[str, str]], None] | None,
        asking: Callable[[], AbstractContextManager[object]],
        apr: Mapping[str, OptionValue] = MappingProxyType({}),
    ) -> None:
        self._environment = environment
        self._home = home
        self._root = root
        self._limits = limits
        self._spawn = spawn
        self._digests = digests
        self._asking = asking
        self._apr = apr
        self._files: Once[_Key, ModelFiles] = Once()
        self._inspections: Once[_Key, tuple[InspectedGate, ...]] = Once()
        self._answers: Once[str, tuple[str, ...] | str] = Once()

    def files(
        self, playbook: PlannedPlaybook, format_: ModelFormat, quantization: str | None
    ) -> ModelFiles:
        """Return where the model's files are; what nobody has is made, if it can be.

        Raises:
            ModelNotFoundError: they are not on this machine, and cannot be made.
            MemoryError: there is not enough memory to make them.
            OSError: there is not enough room on the disk to make them, or it cannot be written.
        """

        def make() -> ModelFiles:
            found = self._found(playbook, format_, quantization)
            if isinstance(found, ModelFiles):
                return found
            made = make_files(
                found,
                cache=self.cache,
                limits=self._limits,
                spawn=self._spawn,
                asking=self._asking,
                apr=self._apr,
            )
            self.note_derived(playbook, found.source, made)
            return replace(made.files, quantization=quantization)

        return self._files.get((playbook.name, format_, quantization), make)

    def _found(
        self, playbook: PlannedPlaybook, format_: ModelFormat, quantization: str | None
    ) -> ModelFiles | Derivable:
        return find_model(
            located_model(playbook.model, self._root),
            format=format_,
            quantization=quantization,
            environment=self._environment,
            home=self._home,
            converter=apr_converter(self._apr),
        )

    def source(
        self, playbook: PlannedPlaybook, format_: ModelFormat, quantization: str | None
    ) -> ModelSource | None:
        """Return which commit of which repository the files are, where the cache knows it."""
        try:
            files = self.files(playbook, format_, quantization)
        except (ModelNotFoundError, OSError):
            return None
        origin = files.origin
        of = files if origin is None else origin.files
        if origin is None and (of.repo is None or of.revision is None):
            return None
        return ModelSource(
            repo=of.repo,
            commit=of.revision,
            derived=None
            if origin is None
            else DerivedSource(format=of.format, digest=origin.digest, tool=origin.tool),
        )

    def ground_truth_files(self, playbook: PlannedPlaybook) -> ModelFiles | None:
        """Return the ground truth's files, or nothing when there are none here.

        What would be made here says nothing of itself: then the truth is what it is made of.
        """
        truth = playbook.ground_truth
        if truth is None:
            return None
        try:
            return self._true_files(playbook, truth)
        except ModelNotFoundError:
            return None

    def _true_files(self, playbook: PlannedPlaybook, truth: GroundTruth) -> ModelFiles:
        found = self._found(playbook, truth.format, truth.quantization)
        return found.source if isinstance(found, Derivable) else found

    def inspection(
        self, playbook: PlannedPlaybook, format_: ModelFormat, quantization: str | None
    ) -> tuple[InspectedGate, ...]:
        """Return what the files say to the G0 gates.

        Raises:
            ModelNotFoundError: the files are not on this machine.
            InspectionFailedError: our inspection failed.
        """

        def inspect() -> tuple[InspectedGate, ...]:
            model = self.files(playbook, format_, quantization)
            truth = self.ground_truth_files(playbook)
            if truth == model:
                truth = None
            seconds = self._limits.inspection_seconds(
                model.size_bytes + (truth.size_bytes if truth else 0)
            )
            try:
                with self._asking(), self._spawn() as child:
                    reply = child.request(
                        Inspect(
                            model=model,
                            ground_truth=truth,
                            expected=playbook.model.expected,
                            apr=dict(self._apr),
                        ),
                        timeout_s=seconds,
                    )
            except (ChildTimeoutError, ChildDiedError) as error:
                what = f"the inspection of the files ended early: {error}\n{error.stderr[-2000:]}"
                raise InspectionFailedError(what) from error
            if not isinstance(reply, Inspected):
                raise InspectionFailedError(_message(reply))
            if self._digests is not None:
                variant = variant_name(format_, quantization)
                self._digests(playbook.name, variant, reply.digests)
            return reply.findings

        return self._inspections.get((playbook.name, format_, quantization), inspect)

    def note_derived(self, playbook: PlannedPlaybook, source: ModelFiles, made: Derived) -> None:
        """Keep the digests of a derived file, and of its source, beside the model's files'."""
        if self._digests is not None:
            name = derived_name(
                variant_name(made.files.format, made.precision),
                variant_name(source.format, source.quantization),
            )
            self._digests(playbook.name, name, {**made.digests, **as_sources(made.source)})

    @property
    def cache(self) -> Path:
        """The project's own cache."""
        return own_cache(self._environment, self._home)

    def ground_truth_answers(self, playbook: PlannedPlaybook) -> tuple[str, ...] | str:
        """Return the ground truth's answers to the probe prompts, or why there are none."""
        return self._answers.get(playbook.name, lambda: self._ask_ground_truth(playbook))

    def _ask_ground_truth(self, playbook: PlannedPlaybook) -> tuple[str, ...] | str:
        truth = playbook.ground_truth
        if truth is None:
            return "the plan names none"
        try:
            model = self._true_files(playbook, truth)
        except ModelNotFoundError as error:
            return str(error)
        answers = self.answers(model, TRUTH_ENGINE, playbook.probe_prompts)
        return answers if isinstance(answers, str) else tuple(each.text for each in answers)

    def answers(
        self, model: ModelFiles, engine: str, cases: Sequence[PromptCase]
    ) -> tuple[Answered, ...] | str:
        """Return the greedy answers of a model in a process of its own, or why there are none."""
        load = self._limits.inspection_seconds(model.size_bytes)
        answers: list[Answered] = []
        try:
            with self._asking(), self._spawn() as child:
                reply = child.request(
                    Open(
                        engine=engine,
                        model=model,
                        backend=Backend.CPU,
                        modality=Modality.RUN,
                    ),
                    timeout_s=load,
                )
                if not isinstance(reply, Opened):
                    return _message(reply)
                for number, case in enumerate(cases):
                    reply = child.request(
                        Ask(
                            turns=case.turns,
                            system=case.system,
                            raw=case.raw,
                            sampling=Sampling(max_tokens=case.max_tokens, seed=case.seed),
                            number=number,
                        ),
                        timeout_s=load,
                    )
                    if not isinstance(reply, Answered):
                        return _message(reply)
                    answers.append(reply)
        except (ChildTimeoutError, ChildDiedError) as error:
            return f"the engine {engine} ended early: {error}"
        return tuple(answers)


def _message(reply: Reply) -> str:
    return str(getattr(reply, "message", f"unexpected reply {type(reply).__name__}"))
