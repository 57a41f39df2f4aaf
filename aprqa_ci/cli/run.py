"""``aprqa run``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.certification.fetching import models_of
from aprqa_ci.certification.locked_models import require_locked_models
from aprqa_ci.certification.steps import (
    Surroundings,
    certify_plan,
    make_plan,
    run_shard,
    shard_named,
)
from aprqa_ci.cli.offline import go_offline
from aprqa_ci.cli.options import engine_option, plan_options, workers_option
from aprqa_ci.cli.output import console, raise_for, show_failures, show_paths, show_score
from aprqa_ci.cli.progress import progress
from aprqa_ci.errors import InconclusiveError, InputError
from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.vocabulary import Outcome

__all__ = ["run"]


@click.command()
@click.argument("source", metavar="PLAN|PLAYBOOK")
@click.option("--shard", metavar="ID", help="The shard of the plan.")
@click.option(
    "--attempt",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Counts repetitions of a shard.",
)
@click.option(
    "--run-id",
    metavar="TEXT",
    help="Common to all shards of one run; the plan's digest if absent.",
)
@plan_options
@engine_option
@workers_option
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("aprqa-out"),
    show_default=True,
    help="Where evidence goes.",
)
@click.option(
    "--models",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The manifest of `aprqa fetch --plan`; held against the cache and kept with the evidence.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
def run(
    *,
    source: str,
    shard: str | None,
    attempt: int,
    run_id: str | None,
    options: PlanOptions,
    engine_options: EngineOptions,
    workers: int,
    output: Path,
    models: Path | None,
    resume: bool,
) -> None:
    """Run one shard of a plan, or chosen cells of a playbook straight away.

    A shard leaves its evidence and a manifest in OUTPUT, for `aprqa merge`. A playbook leaves a
    bundle in OUTPUT/<playbook name>; nothing is registered.
    """
    redaction = go_offline()
    if source.endswith(".json"):
        if options != PlanOptions(locked=options.locked):
            msg = "a plan says what is run; what narrows it belongs to `plan`"
            raise InputError(msg)
        _run_shard(
            Path(source),
            shard,
            locked=options.locked,
            attempt=attempt,
            run_id=run_id,
            resume=resume,
            models=models,
            surroundings=Surroundings(workers=workers, told=engine_options, redaction=redaction),
            output=output,
        )
        return
    if models is not None:
        msg = "--models needs a plan; a playbook takes what the cache has"
        raise InputError(msg)
    if shard is not None:
        msg = "--shard needs a plan; make one with `aprqa plan PLAYBOOK -o plan.json`"
        raise InputError(msg)
    surroundings = Surroundings(workers=workers, told=engine_options, redaction=redaction)
    plan = make_plan(
        [source],
        options=options,
        surroundings=surroundings,
    )
    if options.locked:
        require_locked_models(plan, surroundings)
    out = console()
    with progress(out) as observer:
        bundles = certify_plan(
            plan, out=output, resume=resume, surroundings=surroundings, observer=observer
        )
    for bundle in bundles:
        out.print()
        show_score(out, bundle.score)
        show_failures(out, bundle.score)
        show_paths(out, [bundle.directory])
    raise_for(bundles)


def _run_shard(
    source: Path,
    shard: str | None,
    *,
    locked: bool,
    attempt: int,
    run_id: str | None,
    resume: bool,
    models: Path | None,
    surroundings: Surroundings,
    output: Path,
) -> None:
    plan = read_plan(source)
    if shard is None:
        if len(plan.shards) != 1:
            known = ", ".join(each.id for each in plan.shards)
            msg = f"the plan has {len(plan.shards)} shards; name one with --shard: {known}"
            raise InputError(msg)
        shard = plan.shards[0].id
    if locked:
        require_locked_models(plan, surroundings, shard_named(plan, shard).cells)
    out = console()
    with progress(out) as observer:
        done = run_shard(
            plan,
            shard,
            out=output,
            attempt=attempt,
            run_id=run_id,
            resume=resume,
            models=None if models is None else models_of(plan, models),
            surroundings=surroundings,
            observer=observer,
        )
    for problem in done.preflight:
        out.print(Text(f"not run here: {len(problem.cells)} cells: {problem.what}"))
    counts = {
        outcome: sum(record.outcome is outcome for record in done.records) for outcome in Outcome
    }
    text = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    out.print(Text(f"shard {shard}: {text}"))
    show_paths(out, [output])
    infrastructure = [
        record
        for record in done.records
        if record.metadata.get("cause", "").startswith("infrastructure:")
    ]
    if infrastructure:
        msg = (
            f"{len(infrastructure)} scenarios could not be run on this machine, the first because: "
            f"{infrastructure[0].reason}"
        )
        raise InconclusiveError(msg)
