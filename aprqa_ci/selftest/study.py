"""The study: every mutant and the sound model, each in a process of its own, side by side."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aprqa_ci import __version__
from aprqa_ci.evidence.building import utc_text
from aprqa_ci.execution.engines.registry import describe, engine_catalogue, engine_named
from aprqa_ci.execution.quiet import Quiet
from aprqa_ci.scoring.policies import DEFAULT_POLICY, load_policy
from aprqa_ci.selftest.falsification import (
    ControlRun,
    Falsification,
    NotApplicable,
    StudyMachine,
)
from aprqa_ci.selftest.faulty_engine import Fault
from aprqa_ci.selftest.healthy import false_alarms, healthy_runs, healthy_trials
from aprqa_ci.selftest.mutants import Breakage, PlanShape, Sample
from aprqa_ci.selftest.trial import Trial, TrialResult
from aprqa_ci.selftest.trial_process import run_apart
from aprqa_ci.selftest.verdict import judge

__all__ = ["StudyOptions", "run_study", "run_trials", "trial_of"]

_DEV_SEED, _HELD_OUT_SEED = 42, 4242
_TIME_BOX_S = 180.0


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """How a study is run."""

    model: Path
    """The directory of the sound model."""
    healthy: int = 0
    """Runs of the sound model beside the controls."""
    workers: int = 1
    """Trials that run side by side."""
    time_box_s: float = _TIME_BOX_S
    """What one trial may take; one that takes longer is ended, and no death of its mutant."""


def trial_of(sample: Sample, plans: Mapping[str, PlanShape], model: Path) -> Trial:
    """Return the trial of a mutant; the held out values are asked other questions."""
    mutant = sample.mutant
    breakage = fault = None
    if mutant.transform is not None:
        breakage = Breakage(transform=mutant.transform, parameters=sample.parameters)
    if mutant.fault is not None:
        fault = Fault(name=mutant.fault, parameters=sample.parameters)
    return Trial(
        id=sample.id,
        model=model,
        shape=plans[mutant.plan],
        seed=_HELD_OUT_SEED if sample.held_out else _DEV_SEED,
        breakage=breakage,
        fault=fault,
        prove=True,
    )


def run_study(
    samples: Sequence[Sample],
    plans: Mapping[str, PlanShape],
    options: StudyOptions,
    *,
    now: Callable[[], datetime],
    progress: Callable[[TrialResult, int, int], None],
) -> Falsification:
    """Run the mutants, the sound model with each of their plans, and the healthy runs.

    Args:
        samples: the mutants with their values.
        plans: the plans by name.
        options: how it is run.
        now: the clock.
        progress: called with each result, how many there are now, and how many there will be.
    """
    started = now()
    used = {sample.mutant.plan for sample in samples}
    controls = [
        Trial(id=f"control {name}", model=options.model, shape=plans[name]) for name in sorted(used)
    ]
    chosen = {name: plans[name] for name in used} if options.healthy < len(plans) else plans
    healthy = healthy_trials(options.model, chosen, options.healthy)
    broken = [trial_of(sample, plans, options.model) for sample in samples]
    results = run_trials([*controls, *broken, *healthy], options, progress)
    sound = [results[trial.id] for trial in (*controls, *healthy)]
    judged = [(sample, results[sample.id]) for sample in samples]
    policy = load_policy(DEFAULT_POLICY)
    ended = now()
    return Falsification(
        tool_version=__version__,
        policy=f"{policy.id}, version {policy.version}",
        model=options.model.name,
        date=utc_text(started),
        seconds=round((ended - started).total_seconds(), 1),
        machine=_machine(),
        mutants=tuple(judge(sample, result) for sample, result in judged if result.applicable),
        not_applicable=tuple(
            NotApplicable(id=sample.id, reason=result.lack)
            for sample, result in judged
            if not result.applicable
        ),
        controls=tuple(
            ControlRun(
                plan=trial.id.removeprefix("control "),
                status=results[trial.id].status,
                mqs=results[trial.id].mqs,
                non_green=results[trial.id].non_green,
            )
            for trial in controls
        ),
        healthy_runs=healthy_runs([*controls, *healthy], sound, sorted({*used, *chosen})),
        false_alarms=false_alarms(sound),
    )


def run_trials(
    trials: Sequence[Trial],
    options: StudyOptions,
    progress: Callable[[TrialResult, int, int], None],
) -> dict[str, TrialResult]:
    """Run trials side by side, each in a process of its own; returns the results by id.

    A process of its own can be ended when a trial takes too long, and what one trial leaves behind
    in a process reaches no other. Trials about speed run alone.
    """
    quiet = Quiet()
    results: dict[str, TrialResult] = {}

    def one(trial: Trial) -> TrialResult:
        with quiet.timed() if trial.is_timed else quiet.asking():
            return run_apart(trial, time_box_s=options.time_box_s)

    with ThreadPoolExecutor(max_workers=options.workers) as pool:
        futures = [pool.submit(one, each) for each in trials]
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                result = future.result()
                results[result.id] = result
                progress(result, number, len(futures))
        except BaseException:
            # An interruption waits for the trials that run, and for no other.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _machine() -> StudyMachine:
    engines = {name: describe(engine_named(name)) for name in engine_catalogue().built_in}
    return StudyMachine(
        system=f"{platform.system()} {platform.machine()}",
        processors=os.cpu_count() or 1,
        python=platform.python_version(),
        engines={
            name: info.version for name, info in engines.items() if info.available and info.version
        },
    )
