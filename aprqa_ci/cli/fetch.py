"""``aprqa fetch``."""

import os
from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.certification.fetching import (
    fetch_for,
    fetch_world,
    pull_for,
    require_all,
    resolve_for,
)
from aprqa_ci.certification.steps import Surroundings, make_plan
from aprqa_ci.cli.options import engine_option, plan_options
from aprqa_ci.cli.output import console, show_paths
from aprqa_ci.errors import InputError
from aprqa_ci.execution.apr_engine import APR_ENGINE
from aprqa_ci.execution.engines.engine_options import EngineOptions
from aprqa_ci.execution.fetching.manifest import MODELS_NAME
from aprqa_ci.execution.hub_cache import hub_directory
from aprqa_ci.plain_text import visible
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan

__all__ = ["fetch"]


@click.command()
@click.argument("playbooks", nargs=-1, metavar="[PLAYBOOK...]")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PLAN",
    help="Fetch what a plan needs, instead of playbooks.",
)
@click.option("--shard", metavar="ID", help="Only what this shard of the plan needs.")
@plan_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("aprqa-out") / MODELS_NAME,
    show_default=True,
    help="Where the manifest goes: which repositories, commits, files and digests.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Say what is needed, and fetch none of the weights. Asks the hub.",
)
@click.option(
    "--pull",
    type=click.Choice(["apr"]),
    help="Let the apr tool pull the SafeTensors of models that are not here at all. It tells no "
    "commit and no digests; what it does not pull is asked of the hub.",
)
@engine_option
def fetch(
    *,
    playbooks: tuple[str, ...],
    plan_file: Path | None,
    shard: str | None,
    options: PlanOptions,
    output: Path,
    dry_run: bool,
    pull: str | None,
    engine_options: EngineOptions,
) -> None:
    """Fetch the model files that playbooks or a plan need, and check their digests.

    They go to the cache of the hub (HF_HUB_CACHE, HF_HOME), where `run` and `certify` find them
    without a network. HF_ENDPOINT names the hub, HF_TOKEN the account, for models that need one.
    """
    if bool(playbooks) == (plan_file is not None):
        msg = "name playbooks, or a plan with --plan"
        raise InputError(msg)
    if pull is not None and dry_run:
        msg = "--dry-run pulls nothing; leave --pull out"
        raise InputError(msg)
    surroundings = Surroundings(told=engine_options)
    if plan_file is None:
        if shard is not None:
            msg = "--shard needs --plan"
            raise InputError(msg)
        plan = make_plan(playbooks, options=options, surroundings=surroundings)
    else:
        if options != PlanOptions():
            msg = "a plan says what is run; what narrows it belongs to `plan`"
            raise InputError(msg)
        plan = read_plan(plan_file)
    _fetch(plan, shard, surroundings, None if dry_run else output, pull=pull is not None)


def _fetch(
    plan: Plan, shard: str | None, surroundings: Surroundings, output: Path | None, *, pull: bool
) -> None:
    out = console()

    def say(text: str) -> None:
        out.print(Text(visible(text)), soft_wrap=True)

    cache = hub_directory(os.environ, Path.home())
    world = fetch_world(surroundings, cache, say=say)
    if pull:
        pull_for(plan, shard, world, surroundings.engine_options.get(APR_ENGINE, {}))
    if output is not None:
        fetched = fetch_for(plan, shard, world, output)
        files = sum(len(model.files) for model in fetched.models)
        say(f"{files} files of {len(fetched.models)} repositories are in {cache}")
        show_paths(out, [output])
        return
    resolved = resolve_for(plan, shard, world)
    for model in resolved.models:
        for file in model.files:
            say(f"{model.listing.repo}: {file.path}: {file.size} bytes, digest {file.digest}")
    if resolved.key:
        say(f"cache key {resolved.key}")
    require_all([refusal.error for refusal in resolved.refusals])
