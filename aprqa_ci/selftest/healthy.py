"""Runs of the sound model, which must all be certified: the false alarms are counted here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from aprqa_ci.selftest.falsification import FalseAlarm, HealthyRuns
from aprqa_ci.selftest.mutants import PlanShape
from aprqa_ci.selftest.trial import Trial, TrialResult
from aprqa_ci.vocabulary import Status

__all__ = ["false_alarms", "healthy_runs", "healthy_trials"]

_WORKERS = (1, 2, 4)
_THREADS = (1, 2)
_FIRST_SEED = 1000


def healthy_trials(model: Path, plans: Mapping[str, PlanShape], count: int) -> tuple[Trial, ...]:
    """Return so many runs of the sound model.

    The plans come in turn, each run has a seed of its own, and every combination of workers and
    threads comes with every plan.
    """
    names = sorted(plans)
    trials = []
    for number in range(count):
        name = names[number % len(names)]
        turn = number // len(names)
        workers = _WORKERS[turn % len(_WORKERS)]
        threads = _THREADS[turn // len(_WORKERS) % len(_THREADS)]
        seed = _FIRST_SEED + number
        trials.append(
            Trial(
                id=f"{name}, seed {seed}, workers {workers}, threads {threads}",
                model=model,
                shape=plans[name],
                seed=seed,
                workers=workers,
                threads=threads,
            )
        )
    return tuple(trials)


def healthy_runs(
    trials: Sequence[Trial], results: Sequence[TrialResult], plans: Sequence[str]
) -> HealthyRuns:
    """Return the counts of runs of the sound model."""
    return HealthyRuns(
        runs=len(results),
        scenarios=sum(result.scenarios for result in results),
        certified=sum(result.status is Status.CERTIFIED for result in results),
        seeds=len({trial.seed for trial in trials}),
        plans=tuple(sorted(plans)),
        workers=tuple(sorted({trial.workers for trial in trials})),
        threads=tuple(sorted({trial.threads for trial in trials})),
        non_green=tuple(f"{result.id}: {each}" for result in results for each in result.non_green),
    )


def false_alarms(results: Sequence[TrialResult]) -> tuple[FalseAlarm, ...]:
    """Return the runs of the sound model that were not certified, with what kept them from it."""
    return tuple(
        FalseAlarm(
            run=result.id,
            status=result.status,
            mqs=result.mqs,
            reason=result.lack
            or "; ".join(f"{each.gate}: {each.reason}" for each in result.caught)
            or "no gate failed",
        )
        for result in results
        if result.status is not Status.CERTIFIED
    )
