"""The conformance suite: does an engine keep what it promises?

A certificate says no more than the engine that it was earned on can be trusted with. The suite asks
every engine the same things, in children as cells do, and each check can fail.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from aprqa_ci.execution.engines.conformance import answer_checks, life_checks, sampling_checks
from aprqa_ci.execution.engines.conformance.questions import PlannedCheck, questions
from aprqa_ci.execution.engines.conformance.report import (
    CheckResult,
    CheckState,
    ConformanceReport,
)
from aprqa_ci.execution.engines.conformance.trial import (
    CheckFailedError,
    NotApplicableError,
    NotTriedError,
    Trial,
)
from aprqa_ci.execution.engines.interface import (
    ConfigurableEngine,
    EngineAbsentError,
    OptionValue,
)
from aprqa_ci.execution.engines.registry import configured, describe, engine_named
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import Backend

__all__ = ["CHECK_FUNCTIONS", "check_engine"]

CHECK_FUNCTIONS: Final[Mapping[str, Callable[[Trial], str]]] = {
    "describes-itself": life_checks.describes_itself,
    "loads": life_checks.loads,
    "device-proof": life_checks.device_proof,
    "answers-right": answer_checks.answers_right,
    "agrees-with-reference": answer_checks.agrees_with_reference,
    "continues-raw-text": answer_checks.continues_raw_text,
    "chat-template": answer_checks.chat_template,
    "counts-tokens": answer_checks.counts_tokens,
    "max-tokens": answer_checks.max_tokens,
    "stops": answer_checks.stops,
    "streams": answer_checks.streams,
    "greedy-repeats": sampling_checks.greedy_repeats,
    "temperature": sampling_checks.temperature,
    "seed": sampling_checks.seed,
    "context-overflow": life_checks.context_overflow,
    "serves": life_checks.serves,
    "bad-files": life_checks.bad_files,
    "time-out": life_checks.time_out,
    "closes": life_checks.closes,
}
"""What makes each check of ``conformance.yaml``: returns what was found, raises what was not."""

_LOADS = "loads"


def check_engine(
    name: str,
    model: ModelFiles,
    backend: Backend,
    *,
    options: Mapping[str, OptionValue],
    environment: Mapping[str, str],
    truth_files: ModelFiles | None = None,
    threads: int = 1,
    answer_seconds: float | None = None,
    on_result: Callable[[CheckResult], None] = lambda _: None,
) -> ConformanceReport:
    """Check an engine on a model.

    Args:
        name: of the engine.
        model: the files it is to open, or that the server is to hold which it asks.
        backend: where it is to compute.
        options: the options of the engine.
        environment: what its children inherit, secrets left out.
        truth_files: what the reference engine reads to say what is right; nothing when there is
            nothing that it can read.
        threads: of the engine.
        answer_seconds: how long one answer may take; what the data file says unless given.
        on_result: takes each result as soon as it is known.

    Raises:
        EngineAbsentError: there is no such engine, or it is not available here.
        InputError: an option is wrong.
    """
    engine = configured(engine_named(name), options)
    info = describe(engine)
    if not info.available:
        what = f"engine {name} is not available: {info.reason} ({info.how_to_get})"
        raise EngineAbsentError(what)
    secrets = engine.secrets() if isinstance(engine, ConfigurableEngine) else ()
    results: list[CheckResult] = []
    with tempfile.TemporaryDirectory(prefix="aprqa-conformance-") as scratch:
        trial = Trial(
            engine=name,
            info=info,
            options=options,
            model=model,
            truth_files=truth_files,
            backend=backend,
            environment=environment,
            threads=threads,
            scratch=Path(scratch),
            secrets=secrets,
            answer_seconds=answer_seconds,
        )
        try:
            for planned in questions().checks:
                loaded = all(
                    each.state is not CheckState.FAILED for each in results if each.check == _LOADS
                )
                result = _one(trial, planned, loaded=loaded)
                results.append(result)
                on_result(result)
            device, invocation = trial.device_and_invocation
        finally:
            trial.end()
    return ConformanceReport(
        engine=name,
        version=info.version or "unknown",
        model=model.weights[0].name if model.weights else model.source,
        format=model.format,
        quantization=model.quantization,
        backend=backend,
        device=device,
        invocation=invocation,
        results=tuple(results),
    )


def _one(trial: Trial, planned: PlannedCheck, *, loaded: bool) -> CheckResult:
    started = time.monotonic()
    state, reason = CheckState.PASSED, ""
    missing = [each for each in planned.needs if each not in trial.info.capabilities]
    if missing:
        state = CheckState.NOT_APPLICABLE
        reason = f"the engine does not promise {', '.join(missing)}"
    elif planned.files and not trial.info.needs_files:
        state = CheckState.NOT_APPLICABLE
        reason = "the engine opens no files: the model is held by somebody else"
    elif not loaded:
        state, reason = CheckState.NOT_TRIED, "the model was not opened"
    else:
        try:
            reason = CHECK_FUNCTIONS[planned.id](trial)
        except CheckFailedError as error:
            state, reason = CheckState.FAILED, str(error)
        except NotApplicableError as error:
            state, reason = CheckState.NOT_APPLICABLE, str(error)
        except NotTriedError as error:
            state, reason = CheckState.NOT_TRIED, str(error)
    return CheckResult(
        check=planned.id,
        meaning=planned.meaning,
        state=state,
        reason=reason,
        duration_ms=(time.monotonic() - started) * 1000,
    )
