"""Fetching what a plan, or one shard of it, will read, so that it can be run without a network."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aprqa_ci.certification.steps import Surroundings, shard_named
from aprqa_ci.errors import InconclusiveError, InputError, Problem
from aprqa_ci.execution.apr_engine import APR_ENGINE, engine_here
from aprqa_ci.execution.engines.interface import EngineAbsentError, OptionValue
from aprqa_ci.execution.fetching.choosing import wanted_variants
from aprqa_ci.execution.fetching.fetch import FetchWorld, Resolved, fetch_models, resolve_models
from aprqa_ci.execution.fetching.hub import Hub, HubError
from aprqa_ci.execution.fetching.hugging_face import connect, hub_settings
from aprqa_ci.execution.fetching.manifest import Models
from aprqa_ci.execution.fetching.pulling import PullsModels, pull_missing
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.redaction import redaction_of
from aprqa_ci.wire import pretty_json, read_wire

__all__ = ["fetch_for", "fetch_world", "models_of", "pull_for", "require_all", "resolve_for"]


def fetch_world(
    surroundings: Surroundings,
    cache: Path,
    *,
    say: Callable[[str], None],
    token: str | None = None,
) -> FetchWorld:
    """Return what fetching needs of the outside world.

    Args:
        surroundings: the outside world; ``HF_ENDPOINT`` and ``HF_TOKEN`` are its variables.
        cache: the hub's cache, where the files go.
        say: takes lines about what is going on.
        token: who asks, instead of ``HF_TOKEN``.
    """

    def connected() -> Hub:
        return connect(hub_settings(surroundings.environment, token), cache)

    return FetchWorld(
        environment=surroundings.environment,
        home=surroundings.home,
        root=surroundings.root,
        cache=cache,
        connect=connected,
        say=say,
    )


def resolve_for(plan: Plan, shard: str | None, world: FetchWorld) -> Resolved:
    """Ask the hub which files the cells of a shard need; without one, those of the plan.

    What cannot be had is in the answer, and no error.

    Raises:
        InputError: the plan has no such shard, or the hub cannot be asked at all.
    """
    return resolve_models(wanted_variants(plan, _cells_of(plan, shard)), world)


def pull_for(
    plan: Plan, shard: str | None, world: FetchWorld, options: Mapping[str, OptionValue]
) -> None:
    """Let the engine ``apr`` pull what the cells of a shard need and is nowhere here.

    Args:
        plan: the plan.
        shard: its shard; without one, the plan as a whole.
        world: the outside world.
        options: what the engine is told.

    Raises:
        InputError: the plan has no such shard, or a playbook wants what the tool does not pull.
        InconclusiveError: the tool is not here, or something could not be pulled.
    """

    def puller() -> tuple[PullsModels, str]:
        engine, info = engine_here(APR_ENGINE, options)
        if not info.available or not isinstance(engine, PullsModels):
            what = f"the engine {APR_ENGINE} is to pull it: {info.reason or 'it does not'}"
            raise EngineAbsentError(what)
        return engine, f"{APR_ENGINE}/{info.version or 'unknown'}"

    require_all(pull_missing(wanted_variants(plan, _cells_of(plan, shard)), world, puller))


def _cells_of(plan: Plan, shard: str | None) -> frozenset[str]:
    if shard is None:
        return frozenset(each.id for each in plan.cells)
    return frozenset(shard_named(plan, shard).cells)


def fetch_for(plan: Plan, shard: str | None, world: FetchWorld, manifest: Path) -> Models:
    """Fetch what the cells of a shard need, and write the manifest; without one, of the plan.

    Raises:
        InputError: the plan has no such shard, or a playbook names what the hub does not have.
        InconclusiveError: something could not be had. The manifest says what, and has the rest.
    """
    resolved = resolve_for(plan, shard, world)
    models, errors = fetch_models(resolved, world)
    # The manifest is uploaded, and what the hub or a proxy said stands in it.
    absent = redaction_of(world.environment).of(models.absent)
    models = Models(plan=plan_digest(plan), models=models.models, absent=absent)
    write_atomic(manifest, pretty_json(models))
    require_all(errors)
    return models


def require_all(errors: Sequence[HubError]) -> None:
    """Raise what kept models from being had, each thing once; nothing where there is nothing.

    Raises:
        InputError: a playbook names what the hub does not have, and nothing else went wrong.
        InconclusiveError: something could not be had.
    """
    if not errors:
        return
    told = list(dict.fromkeys(str(error) for error in errors))
    if all(error.fault == "input" for error in errors):
        raise InputError(Problem(what=text) for text in told)
    raise InconclusiveError("\n".join(told))


def models_of(plan: Plan, path: Path) -> Models:
    """Read a manifest that was made for this plan.

    Raises:
        InputError: it cannot be read, or is of another plan.
    """
    models = read_wire(path, Models)
    if models.plan != plan_digest(plan):
        what = "the models were fetched for another plan"
        raise InputError(Problem(what=what, path=path, hint="fetch again"))
    return models
