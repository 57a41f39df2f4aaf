"""The tiers: how much is tested, and what a tier can end in."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.vocabulary import Backend
from aprqa_ci.wire import WireModel, near_name

__all__ = ["Tier", "default_tier", "load_tiers", "tier_named", "tiers_through"]


class Tier(WireModel, frozen=True, kw_only=True):
    """One tier, as ``data/tiers.yaml`` has it."""

    name: str
    meaning: str
    minimum_scenarios: int
    """Prompts over the whole matrix; a smaller playbook is raised to it, never lowered."""
    backends: tuple[Backend, ...] | None
    """What is taken of the declared backends; absent takes all."""
    formats: int | None
    """How many of the declared formats are taken, in their order; absent takes all."""
    quantizations: int | None
    """How many of the declared quantizations are taken, in their order; absent takes all."""
    certifying: bool
    """Whether the tier can end in CERTIFIED."""
    suites: tuple[str, ...]
    """The prompt suites that fill the scenarios, in turn."""
    edge: int
    """Edge-case prompts per cell."""
    stress: int
    """Stress prompts per cell."""
    checks: tuple[str, ...]
    """The gate ids of the measurements that each cell gets, where they apply."""


class _TierFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-tiers/1"]
    default: str
    aliases: dict[str, str]
    tiers: tuple[Tier, ...]


def _file() -> _TierFile:
    return load_data("tiers.yaml", _TierFile)


@cache
def load_tiers() -> dict[str, Tier]:
    """Return all tiers by name, smallest first."""
    return {tier.name: tier for tier in _file().tiers}


def default_tier() -> str:
    """Return the tier that is meant where neither playbook nor user names one."""
    return _file().default


def tier_named(name: str) -> Tier:
    """Return the tier of that name or alias.

    Raises:
        InputError: there is no such tier.
    """
    tiers = load_tiers()
    tier = tiers.get(_file().aliases.get(name, name))
    if tier is None:
        known = [*tiers, *_file().aliases]
        what = f"there is no tier {name!r}; known: {', '.join(known)}"
        raise InputError(Problem(what=what, hint=near_name(name, known)))
    return tier


def tiers_through(name: str) -> tuple[str, ...]:
    """Return the names of the tiers up to the one of that name or alias, smallest first.

    Raises:
        InputError: there is no such tier.
    """
    names = list(load_tiers())
    return tuple(names[: names.index(tier_named(name).name) + 1])
