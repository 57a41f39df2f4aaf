"""Scoring policies: the numbers of each formula, read from ``data/policies``."""

from collections.abc import Mapping
from typing import Literal

from aprqa_ci.data_files import data_directory, load_data
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.vocabulary import Category
from aprqa_ci.wire import WireModel, near_name

__all__ = [
    "DEFAULT_POLICY",
    "Policy",
    "ReferencePolicy",
    "SharePolicy",
    "grade_of",
    "load_policy",
    "policy_names",
]

DEFAULT_POLICY = "aprqa-1"


class SharePolicy(WireModel, frozen=True, kw_only=True, tag_field="formula", tag="planned-share"):
    """A category earns the share of its planned scenarios that was corroborated."""

    id: str
    version: int
    weights: dict[Category, int]
    """The points of each category before they are renormalised to 1000."""
    timeout_penalty: int
    """Points taken for each scenario that timed out."""
    grades: dict[str, int]
    """The least score of each grade, best first; below the last one the grade is F."""
    certify_at: int
    """The least score of a certificate."""
    flaky: Literal["falsify", "report"]
    """Which attempt counts where attempts at a scenario in one run ended in different ways.
    ``falsify``: the worst. ``report``: the newest. Both name the scenario."""

    def __post_init__(self) -> None:
        """Refuse numbers that the formula has no meaning for."""
        _check_weights(self.weights)
        _check_grades(self.grades)
        if self.timeout_penalty < 0:
            raise ValueError("a penalty is not negative")  # noqa: EM101 - msgspec shows it


class ReferencePolicy(WireModel, frozen=True, kw_only=True, tag_field="formula", tag="reference"):
    """The formula of the existing tool; see ``aprqa_ci.scoring.reference_policy``."""

    id: str
    version: int
    weights: dict[Category, int]
    """The points of each category; an untested category gets them all."""
    timeout_penalty: int
    crash_penalty: int
    garbage_divisor: int
    """G4 fails when more than one in this many of all records are failures of G4."""
    grades: dict[str, int]
    """The least normalised score (0 to 100) of each grade, best first; else F."""
    certify_at: int
    """The least raw score that passes."""
    prefixes: dict[str, Category]
    """The category of a gate id by the first prefix that fits."""
    otherwise: Category
    """The category of every id that nothing else fits."""

    def __post_init__(self) -> None:
        """Refuse numbers that the formula has no meaning for."""
        _check_weights(self.weights)
        _check_grades(self.grades)
        if sum(self.weights.values()) != 1000 or self.garbage_divisor < 1:
            raise ValueError("the weights do not add up to 1000")  # noqa: EM101 - msgspec shows it


Policy = SharePolicy | ReferencePolicy
"""What ``load_policy`` gives: one of the two formulas with its numbers."""


class _PolicyFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-policy/1"]
    policy: SharePolicy | ReferencePolicy


def policy_names() -> tuple[str, ...]:
    """Return the ids of all policies of this installation, sorted."""
    folder = data_directory().joinpath("policies")
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_policy(name: str = DEFAULT_POLICY) -> Policy:
    """Return the policy of that id.

    Raises:
        InputError: there is no such policy.
        AprqaError: the installation is damaged.
    """
    known = policy_names()
    if name not in known:
        hint = near_name(name, list(known)) or f"known are {', '.join(known)}"
        raise InputError(Problem(what=f"there is no scoring policy {name!r}", hint=hint))
    return load_data(f"policies/{name}.yaml", _PolicyFile).policy


def grade_of(score: float, grades: Mapping[str, int]) -> str:
    """Return the first grade whose least score is reached, or ``F``."""
    return next((grade for grade, least in grades.items() if score >= least), "F")


def _check_weights(weights: Mapping[Category, int]) -> None:
    if set(weights) != set(Category) or min(weights.values()) <= 0:
        raise ValueError("every category has a weight above 0")  # noqa: EM101 - msgspec shows it


def _check_grades(grades: Mapping[str, int]) -> None:
    least = list(grades.values())
    if least != sorted(set(least), reverse=True):
        raise ValueError("grades stand best first, each lower")  # noqa: EM101 - msgspec shows it
