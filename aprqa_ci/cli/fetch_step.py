"""The steps of a workflow that fetch models, and what the steps after them take from these."""

from dataclasses import replace
from pathlib import Path

from aprqa_ci.certification.fetching import fetch_for, fetch_world, resolve_for
from aprqa_ci.certification.steps import Surroundings
from aprqa_ci.cli.action_step import ActionStep
from aprqa_ci.execution.fetching.fetch import FetchWorld
from aprqa_ci.execution.fetching.manifest import MODELS_NAME, Models
from aprqa_ci.execution.hub_cache import hub_directory
from aprqa_ci.github.workflow_commands import Level
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.wire import read_wire

__all__ = ["fetch_step", "models_for", "resolve_step", "surroundings_offline"]

_CACHE = "models"
_OWN_CACHE = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME")


def resolve_step(step: ActionStep, plan: Plan) -> None:
    """Say what is to be fetched; what cannot be had is for the step that fetches to fail of."""
    resolved = resolve_for(plan, step.inputs.shard, _world(step))
    for refusal in resolved.refusals:
        step.note(Level.WARNING, "A model that cannot be fetched", str(refusal.error))
    size = sum(file.size for model in resolved.models for file in model.files)
    step.say(f"{len(resolved.models)} repositories, {size / 10**9:.3f} GB")
    # A machine that keeps a cache of its own needs no other.
    key = "" if _keeps_its_own(step) else resolved.key
    step.outputs({"cache-key": key, "models": str(_cache(step))})


def fetch_step(step: ActionStep, plan: Plan) -> None:
    """Fetch it."""
    step.outputs({"models": str(_cache(step))})
    models = fetch_for(plan, step.inputs.shard, _world(step), step.inputs.output / MODELS_NAME)
    for model in models.models:
        step.say(f"{model.repo} at {model.commit}: {len(model.files)} files")
    if not models.models:
        step.say("nothing to fetch: every model is on this machine")


def models_for(step: ActionStep, plan: Plan) -> Models | None:
    """Return what an earlier step of the job fetched for the plan, if one did.

    Raises:
        InputError: the manifest is damaged.
    """
    path = step.inputs.output / MODELS_NAME
    if not path.exists():
        return None
    models = read_wire(path, Models)
    # On a runner that outlives its jobs it may be another run's.
    return models if models.plan == plan_digest(plan) else None


def surroundings_offline(step: ActionStep) -> Surroundings:
    """Return the outside world of a run, with the cache that was filled for it."""
    if _keeps_its_own(step) or not _cache(step).is_dir():
        return step.surroundings
    environment = {**step.environment, "HF_HUB_CACHE": str(_cache(step).resolve())}
    return replace(step.surroundings, environment=environment)


def _world(step: ActionStep) -> FetchWorld:
    return fetch_world(
        step.surroundings, _cache(step).resolve(), say=step.say, token=step.inputs.hf_token or None
    )


def _keeps_its_own(step: ActionStep) -> bool:
    return any(step.environment.get(name) for name in _OWN_CACHE)


def _cache(step: ActionStep) -> Path:
    if _keeps_its_own(step):
        return hub_directory(step.environment, Path.home())
    return step.inputs.output / _CACHE
