"""The catalogue of widely used models: what a playbook of each states of it."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.vocabulary import ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = ["KnownModel", "known_model", "known_models", "known_size", "made_quantizations"]


class KnownModel(WireModel, frozen=True, kw_only=True):
    """One model; see the comments of the data file."""

    repo: str
    name: str
    family: str
    size: str
    size_category: SizeCategory
    formats: tuple[ModelFormat, ...]
    hidden_dim: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    vocab_size: int
    intermediate_dim: int
    gated: bool = False

    @property
    def dimensions(self) -> dict[str, int]:
        """The keys of a playbook's ``model`` section that state dimensions, with their values."""
        return {
            "expected_hidden_dim": self.hidden_dim,
            "expected_num_layers": self.num_layers,
            "expected_num_heads": self.num_heads,
            "expected_num_kv_heads": self.num_kv_heads,
            "expected_vocab_size": self.vocab_size,
            "expected_intermediate_dim": self.intermediate_dim,
        }


class _Catalogue(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-known-models/1"]
    made: dict[str, tuple[str, ...]]
    models: tuple[KnownModel, ...]


@cache
def _catalogue() -> _Catalogue:
    return load_data("known_models.yaml", _Catalogue)


def known_models() -> tuple[KnownModel, ...]:
    """Return the catalogue in its order.

    Raises:
        AprqaError: the installation is damaged.
    """
    return _catalogue().models


def made_quantizations(tier: str) -> tuple[str, ...]:
    """Return the quantizations that a playbook of that tier has GGUF files made in.

    Raises:
        KeyError: there is no such tier.
    """
    return _catalogue().made[tier]


def known_model(repo: str) -> KnownModel | None:
    """Return the model of that repository, whatever the case of its letters, if it is known."""
    return next((each for each in known_models() if each.repo.lower() == repo.lower()), None)


def known_size(family: str, size: str) -> KnownModel | None:
    """Return the first model of that family and size, if one is known."""
    return next(
        (each for each in known_models() if (each.family, each.size) == (family, size)), None
    )
