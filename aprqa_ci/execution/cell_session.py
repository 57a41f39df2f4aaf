"""A session on one cell: load the model once, ask every prompt, make every check.

The model lives in a child process. A child that hangs is killed with its group and the scenario is
a ``Timeout``; one that dies makes it ``Crashed``. A fresh session goes on with the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import msgspec

from aprqa_ci.execution.checks import CHECKS, Finding
from aprqa_ci.execution.checks.open_cell import ComparedFiles
from aprqa_ci.execution.child import CellChild, ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.engines.engine_options import options_digest
from aprqa_ci.execution.engines.interface import Sampling, UnknownArchitectureError
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.lost_session import LostSessionError, lost_by, lost_while_loading
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import oracle_for
from aprqa_ci.execution.protocol import (
    Absent,
    Answered,
    Ask,
    AskClients,
    Broken,
    CheckHealth,
    CompareWeights,
    NotOffered,
    Open,
    Opened,
    OutOfMemory,
    Profiled,
    Refused,
    Reply,
    SendMalformed,
)
from aprqa_ci.execution.result import Cause, EngineRun, Metrics
from aprqa_ci.execution.session_context import NOT_SHOWN, SessionContext
from aprqa_ci.planning.plan import PlannedCell, PlannedPlaybook, PlannedScenario, PromptCase
from aprqa_ci.vocabulary import Outcome

__all__ = ["CellSession"]

_WHOLE, _STREAMED = 0, 1
"""How a server is asked: even questions for the answer as a whole, odd ones for a stream."""


class CellSession:
    """Runs the scenarios of one cell on a loaded model."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._child: CellChild | None = None
        self._opened: Opened | None = None
        self._losses = 0
        self._own_losses = 0
        self._asked = 0
        self._timed: Sequence[Answered] | Finding | None = None
        self.answers: list[Answered] = []
        self._alone = False

    # What the checks see (checks.OpenCell).

    @property
    def playbook(self) -> PlannedPlaybook:
        """The playbook of the cell."""
        return self._context.playbook

    @property
    def cell(self) -> PlannedCell:
        """The cell."""
        return self._context.cell

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of the run."""
        return self._context.environment

    @property
    def limits(self) -> Limits:
        """What checks compare with."""
        return self._context.limits

    @property
    def context_length(self) -> int:
        """The loaded model's context, in tokens."""
        return self._require_open().context_length

    def ask(self, case: PromptCase) -> Reply:
        """Ask one question; a lost child is raised, for the scenario to end with."""
        # All questions of a check go the same way, for their answers are compared. Only a stream
        # shows the first token.
        return self._ask(case, number=_STREAMED if self._alone else _WHOLE)

    def _ask(self, case: PromptCase, *, number: int) -> Reply:
        self._require_open()
        request = Ask(
            turns=case.turns,
            system=case.system,
            raw=case.raw,
            sampling=Sampling(
                max_tokens=case.max_tokens, temperature=case.temperature, seed=case.seed
            ),
            number=number,
        )
        with self._sharing():
            reply = self._send(request, answers=len(case.turns))
        if isinstance(reply, Answered):
            self.answers.append(reply)
        return reply

    def request(self, request: AskClients | SendMalformed | CheckHealth, *, answers: int) -> Reply:
        """Send another request that may take as long as so many answers."""
        self._require_open()
        with self._sharing():
            return self._send(request, answers=answers)

    def compare_weights(self) -> Reply:
        """Compare the weights with the ground truth's, in a process of its own."""
        context = self._context
        truth, origin = context.ground_truth_files, context.model.origin
        if origin is not None:
            # A file that was made here is held against what it was made of: converted back, it
            # would be compared with itself.
            truth = origin.files
        size = context.model.size_bytes
        if truth is not None:
            size += truth.size_bytes
        try:
            with context.asking(), context.spawn() as child:
                reply = child.request(
                    CompareWeights(
                        model=context.model,
                        ground_truth=truth,
                        scratch=context.scratch,
                        apr=dict(context.apr),
                    ),
                    timeout_s=self.limits.inspection_seconds(size),
                )
        except (ChildTimeoutError, ChildDiedError) as error:
            # Our own converter hung or died; the model was not asked anything.
            raise LostSessionError(
                Cause(kind="infrastructure", word="comparison-failed"),
                f"comparing the weights: {error}",
                stderr=error.stderr,
            ) from error
        if isinstance(reply, Broken | OutOfMemory | Absent):
            raise lost_by(reply)
        return reply

    def ground_truth(self) -> tuple[str, ...] | str:
        """Return the ground truth's answers to the probe prompts, or why there are none."""
        return self._context.ground_truth()

    @property
    def files(self) -> ComparedFiles:
        """What the cell's files are compared with."""
        return self._context.files

    @contextmanager
    def timed_alone(self) -> Iterator[None]:
        """Enter a context in which no other cell of this machine asks anything."""
        with self._context.timed():
            self._alone = True
            try:
                yield
            finally:
                self._alone = False

    def measured(
        self, make: Callable[[], Sequence[Answered] | Finding]
    ) -> Sequence[Answered] | Finding:
        """Return the cell's timed answers, made at the first call."""
        if self._timed is None:
            self._timed = make()
        return self._timed

    def profiled(self) -> Profiled | str | None:
        """Return what the engine measures of its own speed, or why it gives none."""
        return self._context.profile()

    def load(self, scenario: PlannedScenario) -> bool:
        """Load the model and record gateway G1; says whether the model is there.

        Raises:
            UnknownArchitectureError: this engine does not know it, and nothing was recorded.
        """
        try:
            opened = self._open()
        except LostSessionError as error:
            outcome = Outcome.SKIPPED
            if error.cause.kind == "model":
                outcome = {
                    "not-loaded": Outcome.FALSIFIED,
                    "load-timeout": Outcome.TIMEOUT,
                    "load-crash": Outcome.CRASHED,
                }[error.cause.word]
            self._context.emit(
                scenario=scenario,
                outcome=outcome,
                reason=error.reason,
                stderr=error.stderr,
                exit_code=error.exit_code,
                cause=error.cause,
            )
            return False
        if not (opened.files_opened and opened.device_proven):
            # It answers, and what it says is judged; that it loaded these files here is not shown.
            unshown = [] if opened.files_opened else ["that it loaded the files of this model"]
            unshown += [] if opened.device_proven else [f"that it computes on {self.cell.backend}"]
            self._context.emit(
                scenario=scenario,
                outcome=Outcome.SKIPPED,
                reason=f"the engine answers and does not show {' nor '.join(unshown)}: "
                f"{opened.invocation}; {opened.device}",
                cause=NOT_SHOWN,
                engine=self.engine_run(),
            )
            return True
        self._context.emit(
            scenario=scenario,
            outcome=Outcome.CORROBORATED,
            reason="; ".join(
                [
                    f"loaded in {opened.load_ms:.0f} ms",
                    f"context {opened.context_length} tokens",
                    *(f"{each.engine} passed over" for each in self._context.passed_over),
                ]
            ),
            metrics=Metrics(memory_peak_mb=opened.memory_mb, duration_ms=opened.load_ms),
            engine=self.engine_run(),
        )
        return True

    def run(self, scenario: PlannedScenario) -> None:
        """Run a prompt or a check, and record its outcome.

        Raises:
            ChildTimeoutError: no answer came in time.
            ChildDiedError: the child ended.
            UnknownArchitectureError: the engine does not know the model's architecture.
        """
        try:
            if scenario.prompt is not None:
                self._prompt(scenario, scenario.prompt)
            else:
                self._check(scenario)
        except LostSessionError as error:
            self._context.emit(
                scenario=scenario,
                outcome=Outcome.SKIPPED,
                reason=error.reason,
                stderr=error.stderr,
                exit_code=error.exit_code,
                cause=error.cause,
                engine=self.engine_run(),
            )

    def lose(self) -> None:
        """Give the child up; the next scenario starts another, as long as that makes sense."""
        self._losses += 1
        self.close()

    def close(self) -> int | None:
        """End the child and return its exit code; nothing where it did not end by itself."""
        child, self._child = self._child, None
        return None if child is None else child.close()

    def engine_run(self) -> EngineRun | None:
        """Return which engine answers, once the model was loaded."""
        if self._opened is None:
            return None
        return EngineRun(
            engine=self._opened.engine,
            version=self._opened.version,
            device=self._opened.device,
            invocation=self._opened.invocation,
            options_digest=options_digest(self._context.options),
            passed_over=self._context.passed_over,
        )

    def _sharing(self) -> AbstractContextManager[object]:
        """Return what is held while the child computes: nothing more when it has all for itself."""
        return nullcontext() if self._alone else self._context.asking()

    def _require_open(self) -> Opened:
        if self._child is None:
            return self._open()
        assert self._opened is not None  # noqa: S101 - set together with the child
        return self._opened

    def _open(self) -> Opened:
        context = self._context
        if self._losses >= self.limits.process_losses:
            kind = "infrastructure" if self._losses == self._own_losses else "model"
            why = f"the cell's process was lost {self._losses} times; the rest is given up"
            raise LostSessionError(Cause(kind=kind, word="gave-up"), why)
        request = Open(
            engine=context.engine,
            model=context.model,
            backend=context.cell.backend,
            modality=context.cell.modality,
            options=dict(context.options),
        )
        seconds = self.limits.load_seconds(context.cell.timeout_ms, context.model.size_bytes)
        seconds += context.start_seconds
        with self._sharing():
            child = context.spawn()
            try:
                reply = child.request(request, timeout_s=seconds)
            except (ChildTimeoutError, ChildDiedError) as error:
                self._losses += 1
                child.close()
                raise lost_while_loading(error) from error
            if isinstance(reply, Opened):
                self._child, self._opened = child, reply
                return reply
            self._losses += 1
            child.close()
        if isinstance(reply, Absent) and reply.architecture and self._opened is None:
            raise UnknownArchitectureError(reply.message)
        raise lost_by(reply)

    def _send(
        self, request: Ask | AskClients | SendMalformed | CheckHealth, *, answers: int
    ) -> Reply:
        assert self._child is not None  # noqa: S101 - callers open first
        seconds = self.cell.timeout_ms / 1000 * max(1, answers)
        reply = self._child.request(request, timeout_s=seconds)
        if isinstance(reply, Broken | OutOfMemory | Absent):
            # After any of these the session's state is unknown.
            self.lose()
            self._own_losses += 1
            raise lost_by(reply)
        if isinstance(reply, NotOffered):
            raise lost_by(reply)
        return reply

    def _prompt(self, scenario: PlannedScenario, case: PromptCase) -> None:
        number, self._asked = self._asked, self._asked + 1
        reply = self._ask(case, number=number)
        if not isinstance(reply, Answered):
            refused = isinstance(reply, Refused)
            message = getattr(reply, "message", str(reply))
            self._context.emit(
                scenario=scenario,
                outcome=Outcome.FALSIFIED,
                reason=f"the prompt was {'refused' if refused else 'not answered'}: {message}",
                kind="engine-error",
                engine=self.engine_run(),
            )
            return
        judgement = oracle_for(case.oracle, self.playbook.oracles).judge(
            Question(prompt=case.turns[-1], history=case.turns[:-1], raw=case.raw), reply.text
        )
        outcome, cause = {
            OracleVerdict.CORROBORATED: (Outcome.CORROBORATED, None),
            OracleVerdict.FALSIFIED: (Outcome.FALSIFIED, None),
            OracleVerdict.NOT_APPLICABLE: (
                Outcome.SKIPPED,
                Cause(kind="policy", word="no-oracle-applies"),
            ),
        }[judgement.verdict]
        rate = reply.completion_tokens / reply.duration_ms * 1000 if reply.duration_ms else None
        self._context.emit(
            scenario=scenario,
            outcome=outcome,
            reason=judgement.reason,
            output=reply.text,
            exit_code=0,
            metrics=Metrics(
                tokens_per_second=rate,
                time_to_first_token_ms=reply.time_to_first_token_ms,
                total_tokens=reply.completion_tokens,
                memory_peak_mb=reply.memory_peak_mb,
                duration_ms=reply.duration_ms,
            ),
            cause=cause,
            kind=judgement.kind,
            oracles="; ".join(f"{part.oracle}={part.verdict}" for part in _leaves(judgement)),
            finish=reply.finish,
            engine=self.engine_run(),
        )

    def _check(self, scenario: PlannedScenario) -> None:
        finding = CHECKS[scenario.gate_id](self)
        self._context.emit(
            scenario=scenario,
            outcome=finding.outcome,
            reason=finding.reason,
            output=msgspec.json.encode(finding.figures, order="sorted").decode(),
            metrics=finding.metrics,
            cause=finding.cause,
            engine=self.engine_run(),
        )


def _leaves(judgement: Judgement) -> list[Judgement]:
    return [leaf for part in judgement.parts for leaf in _leaves(part)] or [judgement]
