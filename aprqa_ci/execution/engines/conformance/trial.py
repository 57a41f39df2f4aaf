"""An engine on trial: its children, its answers, and what they are held against."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from aprqa_ci.data_files import bundled_model
from aprqa_ci.execution.child import CellChild, ChildDiedError, Children, ChildTimeoutError
from aprqa_ci.execution.engines.conformance.questions import (
    ConformanceQuestions,
    KnownQuestion,
    questions,
)
from aprqa_ci.execution.engines.conformance.traces import MARK_VARIABLE
from aprqa_ci.execution.engines.interface import EngineInfo, OptionValue, Sampling
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.protocol import Answered, Ask, Open, Opened, Reply, Request
from aprqa_ci.vocabulary import Backend, Modality

__all__ = [
    "CheckFailedError",
    "NotApplicableError",
    "NotTriedError",
    "Trial",
    "TrialChild",
    "Truth",
    "describe_reply",
    "expect",
    "opened_by",
]

_REFERENCE = "reference"
_STDERR_CHARS = 300


class CheckFailedError(Exception):
    """The engine does not do what it should."""


class NotApplicableError(Exception):
    """The check says nothing about this engine with this model."""


class NotTriedError(Exception):
    """The check applies and cannot be made here."""


def expect(condition: object, what: str) -> None:
    """Fail the check unless the condition holds.

    Raises:
        CheckFailedError: it does not.
    """
    if not condition:
        raise CheckFailedError(what)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What a greedy answer should be."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class TrialChild:
    """A child process of the trial; what becomes of it is the check's finding."""

    def __init__(self, child: CellChild, seconds: float, *, mark: str = "") -> None:
        self._child = child
        self._seconds = seconds
        self.mark = mark
        """What it and all that it starts have in their environment."""
        self.lost = False

    @property
    def pid(self) -> int:
        """The process id, which is the group's id as well."""
        return self._child.pid

    def request(self, request: Request, *, seconds: float | None = None) -> Reply:
        """Send a request and return the reply.

        Raises:
            CheckFailedError: the child died, or gave no reply in time.
        """
        try:
            return self._child.request(
                request, timeout_s=self._seconds if seconds is None else seconds
            )
        except (ChildTimeoutError, ChildDiedError) as error:
            self.lost = True
            tail = error.stderr.strip()[-_STDERR_CHARS:]
            what = f"{error}{': ' if tail else ''}{tail}"
            raise CheckFailedError(what) from error

    def begin(self, request: Request, *, seconds: float) -> None:
        """Send a request and end the child's group after that time, whatever it does by then."""
        with suppress(ChildTimeoutError, ChildDiedError):
            self._child.request(request, timeout_s=seconds)
        self.kill()

    def ask(
        self,
        turns: Sequence[str],
        *,
        system: str | None = None,
        raw: bool = False,
        sampling: Sampling,
        number: int = 0,
        watched: bool = False,
    ) -> Answered:
        """Ask a question that must be answered.

        Raises:
            CheckFailedError: it is not.
        """
        reply = self.request(
            Ask(
                turns=tuple(turns),
                system=system,
                raw=raw,
                sampling=sampling,
                number=number,
                watched=watched,
            ),
            seconds=self._seconds * max(1, len(turns)),
        )
        if not isinstance(reply, Answered):
            raise CheckFailedError(describe_reply(reply))
        return reply

    def ask_known(self, question: KnownQuestion, *, number: int = 0) -> Answered:
        """Ask a question of the data file, greedy.

        Raises:
            CheckFailedError: it is not answered.
        """
        return self.ask(
            question.turns,
            system=question.system,
            raw=question.raw,
            sampling=Sampling(max_tokens=question.max_tokens),
            number=number,
        )

    def close(self) -> int | None:
        """Let it end in good order; returns its exit code, or nothing when it had to be killed."""
        self.lost = True
        return self._child.close()

    def kill(self) -> None:
        """End it with its group."""
        self.lost = True
        self._child.kill()
        self._child.close()


@dataclass(kw_only=True)
class Trial:
    """What the checks of one engine with one model share."""

    engine: str
    info: EngineInfo
    options: Mapping[str, OptionValue]
    model: ModelFiles
    truth_files: ModelFiles | None
    """What the reference engine reads to say what is right; absent when there is nothing."""
    backend: Backend
    environment: Mapping[str, str]
    threads: int
    scratch: Path
    """An empty directory for damaged copies."""
    secrets: tuple[str, ...] = ()
    """Names of environment variables that the engine must see."""
    children: Children = field(default_factory=Children)
    answer_seconds: float | None = None
    """How long one answer may take; what the data file says unless given."""
    _open: tuple[TrialChild, Opened] | None = None

    @property
    def asked(self) -> ConformanceQuestions:
        """The questions."""
        return questions()

    @property
    def seconds(self) -> float:
        """How long one answer may take."""
        return self.asked.answer_seconds if self.answer_seconds is None else self.answer_seconds

    @property
    def load_seconds(self) -> float:
        """How long loading may take."""
        return load_limits().load_seconds(int(self.seconds * 1000), self.model.size_bytes)

    @property
    def bundled(self) -> bool:
        """Whether the model is the one that comes with the package."""
        return self.model.directory.resolve() == bundled_model().resolve()

    def spawn(self) -> TrialChild:
        """Start a child, as a cell does, and mark it."""
        mark = uuid4().hex
        child = CellChild(
            environment={**self.environment, MARK_VARIABLE: mark},
            threads=self.threads,
            children=self.children,
            secrets=self.secrets,
        )
        return TrialChild(child, self.seconds, mark=mark)

    def load(
        self, child: TrialChild, *, model: ModelFiles | None = None, modality: Modality
    ) -> Reply:
        """Have the child open the model, or another.

        Raises:
            CheckFailedError: the child died or did not reply in time.
        """
        return child.request(
            Open(
                engine=self.engine,
                model=model or self.model,
                backend=self.backend,
                modality=modality,
                options=dict(self.options),
            ),
            seconds=self.load_seconds,
        )

    @contextmanager
    def opened(self, modality: Modality = Modality.CHAT) -> Iterator[tuple[TrialChild, Opened]]:
        """Open the model in a child of its own, which is killed at the end.

        Raises:
            CheckFailedError: it cannot be opened.
        """
        child, opened = self._opened_child(modality)
        try:
            yield child, opened
        finally:
            child.kill()

    @property
    def session(self) -> TrialChild:
        """The child that most checks share; another one when it was lost.

        Raises:
            CheckFailedError: the model cannot be opened.
        """
        return self.open_session()[0]

    def open_session(self) -> tuple[TrialChild, Opened]:
        """Return the shared child and what it said when it opened the model.

        Raises:
            CheckFailedError: the model cannot be opened.
        """
        if self._open is None or self._open[0].lost:
            self._open = self._opened_child(Modality.CHAT)
        return self._open

    def _opened_child(self, modality: Modality) -> tuple[TrialChild, Opened]:
        child = self.spawn()
        try:
            return child, opened_by(self.load(child, modality=modality))
        except BaseException:
            child.kill()
            raise

    def end(self) -> None:
        """End every child."""
        self.children.kill_all()
        if self._open is not None:
            self._open[0].kill()

    @property
    def device_and_invocation(self) -> tuple[str, str]:
        """What the shared child said of itself; nothing when the model was never opened."""
        if self._open is None:
            return "", ""
        return self._open[1].device, self._open[1].invocation

    def truth(self, question: KnownQuestion) -> Truth:
        """Return what the greedy answer should be.

        Raises:
            NotTriedError: nobody can say.
        """
        if self.bundled:
            return Truth(
                text=question.text,
                prompt_tokens=question.prompt_tokens,
                completion_tokens=question.completion_tokens,
            )
        return self.reference_truth(question)

    def reference_truth(self, question: KnownQuestion) -> Truth:
        """Return what the reference engine answers.

        Raises:
            NotApplicableError: the engine on trial is the reference engine.
            NotTriedError: it cannot answer.
        """
        if self.engine == _REFERENCE:
            what = "it is the reference engine: compared with itself it would show nothing"
            raise NotApplicableError(what)
        found = self._reference_answers
        if isinstance(found, str):
            raise NotTriedError(found)
        return found[question.id]

    @cached_property
    def _reference_answers(self) -> dict[str, Truth] | str:
        """The reference engine's answers by question, or why there are none."""
        files = self.truth_files
        if files is None:
            return f"the reference engine cannot read {self.model.format}"
        child = TrialChild(
            CellChild(environment=self.environment, threads=self.threads, children=self.children),
            self.seconds,
        )
        request = Open(engine=_REFERENCE, model=files, backend=Backend.CPU, modality=Modality.CHAT)
        try:
            reply = child.request(request, seconds=self.load_seconds)
            if not isinstance(reply, Opened):
                return f"the reference engine: {describe_reply(reply)}"
            answers = {}
            for question in self.asked.questions:
                answer = child.ask_known(question)
                answers[question.id] = Truth(
                    text=answer.text,
                    prompt_tokens=answer.prompt_tokens,
                    completion_tokens=answer.completion_tokens,
                )
        except CheckFailedError as error:
            return f"the reference engine: {error}"
        finally:
            child.kill()
        return answers


def opened_by(reply: Reply) -> Opened:
    """Return the reply to opening a model.

    Raises:
        CheckFailedError: it was not opened.
    """
    if not isinstance(reply, Opened):
        raise CheckFailedError(describe_reply(reply))
    return reply


def describe_reply(reply: Reply) -> str:
    """Say what came instead of what was wanted."""
    message = getattr(reply, "message", "")
    return f"{type(reply).__name__}{': ' if message else ''}{message}"
