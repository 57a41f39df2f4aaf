"""``aprqa_ci.certify``: the whole way in one call."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.registering import register_bundle
from aprqa_ci.certification.steps import (
    Surroundings,
    certify_plan,
    end_run,
    make_plan,
)
from aprqa_ci.execution.machine import Observer
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.vocabulary import Backend

__all__ = ["certify"]


def certify(
    playbooks: Sequence[Path | str],
    *,
    tier: str | None = None,
    only: Sequence[str] = (),
    backends: Sequence[Backend] = (),
    engine: str | None = None,
    out: Path | str = "certifications",
    registry: Path | str | None = None,
    readme: Path | str | None = None,
    replace_better: bool = False,
    resume: bool = False,
    append: bool = False,
    workers: int | None = None,
    surroundings: Surroundings | None = None,
    observer: Observer | None = None,
) -> list[Bundle]:
    """Plan, run, score, report and register playbooks on this machine.

    Args:
        playbooks: files, directories or globs.
        tier: ``quick``, ``smoke``, ``mvp`` or ``full``; absent, what each playbook declares.
        only: globs over cell ids; a narrowed run cannot certify.
        backends: only these; a narrowed run cannot certify.
        engine: the engine for every cell.
        out: where bundles go, and where earlier certificates are looked for.
        registry: the models.csv to update; absent, none is. Better evidence that stands stays.
        readme: the README whose table is updated; absent, none is.
        replace_better: write the row also where what stands is better evidence.
        resume: go on with an interrupted run.
        append: keep the evidence of earlier runs.
        workers: cells that run side by side; absent, as many as the surroundings say.
        surroundings: the outside world; absent, this process's own.
        observer: watches; absent, nobody does.

    Returns:
        One bundle per playbook; ``bundle.score`` and ``bundle.certificate`` hold the verdict. That
        a model fell short is no exception.

    Raises:
        InputError: a playbook, an option or a file is wrong; all problems are named.
    """
    world = surroundings or Surroundings()
    if workers is not None:
        world = replace(world, workers=workers)
    plan = make_plan(
        playbooks,
        options=PlanOptions(tier=tier, only=tuple(only), backends=tuple(backends), engine=engine),
        surroundings=world,
        certifications=Path(out),
    )
    bundles = certify_plan(
        plan,
        out=Path(out),
        resume=resume,
        append=append,
        settled=False,
        surroundings=world,
        observer=observer,
    )
    if registry is not None:
        for bundle in bundles:
            register_bundle(
                bundle,
                registry=Path(registry),
                readme=Path(readme) if readme else None,
                replace_better=replace_better,
            )
    end_run(plan, Path(out))
    return bundles
