"""What the child process does with each request; holds the session between them."""

import os
import resource
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Self, assert_never

from aprqa_ci.execution.apr_engine import engine_here
from aprqa_ci.execution.asking import Asker, Question, ServeAsker, asker_for
from aprqa_ci.execution.comparing import judge_files
from aprqa_ci.execution.converters import apr_converter
from aprqa_ci.execution.derived_files import derive
from aprqa_ci.execution.engines.interface import (
    DescribedSession,
    Device,
    EngineAbsentError,
    ModelLoadError,
    Session,
)
from aprqa_ci.execution.engines.registry import configured, describe, engine_named
from aprqa_ci.execution.examiners import apr_examiner
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.gpu_devices import (
    GpuDevice,
    RunCommand,
    gpu_use,
    run_command,
    visible_devices,
)
from aprqa_ci.execution.integrity.inspection import inspect_model
from aprqa_ci.execution.processes import descendants
from aprqa_ci.execution.protocol import (
    MAX_ANSWER_CHARACTERS,
    Answered,
    Ask,
    AskClients,
    CheckHealth,
    ClientsAnswered,
    CompareWeights,
    Derive,
    Derived,
    FilesJudged,
    Health,
    Inspect,
    Inspected,
    InspectedGate,
    JudgedFile,
    JudgeFiles,
    MalformedSent,
    Open,
    Opened,
    ProfileModel,
    Reply,
    Request,
    SendMalformed,
    WeightsCompared,
)
from aprqa_ci.execution.self_profiling import ProfilesModels
from aprqa_ci.execution.weight_comparison import compare_weights
from aprqa_ci.vocabulary import Backend

__all__ = ["Desk"]

_MIB = 1 << 20


class Desk:
    """Answers requests; closed, it frees the session and ends its server."""

    def __init__(self, run_command: RunCommand = run_command) -> None:
        """Make a desk without a session.

        Args:
            run_command: asks the driver what computes where.
        """
        self._run_command = run_command
        self._stack = ExitStack()
        self._session: Session | None = None
        self._asker: Asker | None = None

    def handle(self, request: Request) -> Reply:
        """Return the reply to a request.

        Raises:
            Exception: what the engine raised; the worker says what it means.
        """
        match request:
            case Inspect():
                return self._inspect(request)
            case CompareWeights():
                return self._compare(request)
            case JudgeFiles():
                return self._judge(request)
            case Derive():
                return self._derive(request)
            case ProfileModel():
                return self._profile(request)
            case Open():
                return self._open(request)
            case Ask():
                return self._ask(request)
            case AskClients():
                answers = self._server().ask_together(request.questions, request.sampling)
                return ClientsAnswered(
                    alone=answers.alone, together=answers.together, failures=answers.failures
                )
            case SendMalformed():
                statuses, alive = self._server().send_malformed()
                return MalformedSent(statuses=statuses, alive=alive)
            case CheckHealth():
                return Health(status=self._server().client.health())
            case _:
                assert_never(request)

    def _inspect(self, request: Inspect) -> Reply:
        inspection = inspect_model(
            request.model,
            ground_truth=request.ground_truth,
            expected=request.expected,
            examiner=apr_examiner(request.apr),
        )
        return Inspected(
            findings=tuple(
                InspectedGate(
                    gate_id=finding.gate_id,
                    state=str(finding.state),
                    reason=finding.reason,
                    details=finding.details,
                )
                for finding in inspection.findings
            ),
            digests=dict(inspection.digests),
        )

    def _compare(self, request: CompareWeights) -> Reply:
        found = compare_weights(
            request.model,
            request.ground_truth,
            scratch=request.scratch,
            converter=apr_converter(request.apr),
        )
        worst = found.excess.worst
        return WeightsCompared(
            tensors=found.tensors,
            worst_tensor=found.worst_tensor,
            worst_error=found.worst_error if isfinite(found.worst_error) else None,
            exact=found.exact,
            reason=found.reason,
            requantized=found.excess.tensors,
            worst_requantized=worst.tensor if worst else "",
            worst_ratio=worst.ratio if worst else None,
            typical_ratio=found.excess.typical,
        )

    def _judge(self, request: JudgeFiles) -> Reply:
        findings = judge_files(
            request.gates,
            request.model,
            request.ground_truth,
            settings=request.settings,
            limit=request.limit,
            root=request.root,
            examiner=apr_examiner(request.apr),
        )
        return FilesJudged(
            findings=tuple(
                JudgedFile(
                    gate_id=each.gate_id,
                    state=each.state,
                    reason=each.reason,
                    figures=dict(each.figures),
                    cause=each.cause,
                )
                for each in findings
            )
        )

    def _derive(self, request: Derive) -> Reply:
        try:
            found = derive(
                request.model,
                cache=request.cache,
                converter=apr_converter(request.apr),
                format=request.format,
                quantization=request.quantization,
            )
        except UnsupportedFormatError as error:
            raise EngineAbsentError(str(error)) from error
        except FormatError as error:
            raise ModelLoadError(str(error)) from error
        return Derived(
            files=found.files,
            precision=found.derivation.precision,
            digests=dict(found.digests),
            source=found.derivation.source,
        )

    def _profile(self, request: ProfileModel) -> Reply:
        engine, info = engine_here(request.engine, request.options)
        if not info.available or not isinstance(engine, ProfilesModels):
            what = f"engine {request.engine} has no profile: {info.reason or 'it offers none'}"
            raise EngineAbsentError(what)
        return engine.profile(request.model, warmup=request.warmup, measure=request.measure)

    def _open(self, request: Open) -> Reply:
        engine = configured(engine_named(request.engine), request.options)
        on_gpu = request.backend is Backend.GPU
        before = self._gpus() if on_gpu else ()
        started = time.monotonic()
        session = engine.open(request.model, request.backend)
        self._stack.callback(session.close)
        _require_device(engine.name, session.device, request.backend)
        self._session = session
        self._asker = asker_for(session, request.modality, self._stack)
        load_ms = (time.monotonic() - started) * 1000
        device = session.device
        # What an engine says of itself is no proof: a library can fall back and not know it.
        seen = ""
        if on_gpu and device.proven:
            ours = {os.getpid(), *descendants(os.getpid())}
            seen = gpu_use(ours, before, self._gpus(), request.model.size_bytes)
        invocation = (
            session.invocation
            if isinstance(session, DescribedSession)
            else engine.invocation(request.model, request.backend)
        )
        info = describe(engine)
        return Opened(
            engine=engine.name,
            version=info.version or "unknown",
            device=_shown(device, seen),
            device_proven=device.proven and (bool(seen) or not on_gpu),
            files_opened=info.needs_files,
            invocation=invocation,
            context_length=session.context_length,
            load_ms=load_ms,
            memory_mb=_resident_mb(),
        )

    def _ask(self, request: Ask) -> Reply:
        assert self._asker is not None  # noqa: S101 - the parent opens before it asks
        pieces = _Pieces()
        answer = self._asker.ask(
            Question(
                turns=request.turns,
                system=request.system,
                raw=request.raw,
                sampling=request.sampling,
                number=request.number,
                on_text=pieces.take if request.watched else None,
            )
        )
        cut = len(answer.text) > MAX_ANSWER_CHARACTERS
        return Answered(
            text=answer.text[:MAX_ANSWER_CHARACTERS],
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            finish="length" if cut else answer.finish,
            pieces=tuple(pieces.texts),
            first_piece_ms=pieces.first_ms,
            time_to_first_token_ms=answer.time_to_first_token_ms,
            duration_ms=answer.duration_ms,
            memory_mb=_resident_mb(),
            memory_peak_mb=_peak_mb(),
        )

    def _gpus(self) -> Sequence[GpuDevice]:
        return visible_devices(self._run_command, os.environ) or ()

    def _server(self) -> ServeAsker:
        assert isinstance(self._asker, ServeAsker)  # noqa: S101 - planned for serve cells only
        return self._asker

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()


def _require_device(engine: str, device: Device, backend: Backend) -> None:
    """Require that the session computes where the cell is to be computed.

    Raises:
        EngineAbsentError: it computes elsewhere, so that the cell would speak of another backend.
    """
    if device.backend is not backend:
        where = f"{device.backend} ({device.name}: {device.proof})"
        what = f"engine {engine} was opened for {backend} and computes on {where}"
        raise EngineAbsentError(what)


def _shown(device: Device, seen: str) -> str:
    """Return the device, with what the engine says of it and what the driver does."""
    said = f"{device.backend}: {device.name} ({device.proof}"
    if device.backend is not Backend.GPU or not device.proven:
        return f"{said})"
    return f"{said}; {seen or 'the driver shows no use of a GPU by its process'})"


class _Pieces:
    """Keeps the pieces of an answer, and when the first one came."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.texts: list[str] = []
        self.first_ms: float | None = None

    def take(self, text: str) -> None:
        if self.first_ms is None:
            self.first_ms = (time.perf_counter() - self._started) * 1000
        self.texts.append(text)


def _resident_mb() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return _peak_mb()
    return pages * resource.getpagesize() // _MIB


def _peak_mb() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return peak // _MIB if sys.platform == "darwin" else peak // 1024
