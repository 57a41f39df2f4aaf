"""Playbooks that know the architecture: what a family's contract says, put into a template."""

from functools import cache
from typing import Any, Literal

import msgspec

from aprqa_ci.data_files import load_data
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.planning.authoring import ModelFacts, facts_of
from aprqa_ci.planning.family_contract import FamilyContract, SizeFacts, size_of_contract
from aprqa_ci.planning.known_models import known_size
from aprqa_ci.wire import WireModel

__all__ = ["bootstrap_facts"]

_USUAL_POSITIONS = 4096
"""The context of a size whose contract does not say; the existing tool takes the same."""


class _Trait(WireModel, frozen=True, kw_only=True):
    name: str
    constraint: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    min_positions: int = 0
    kernels: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()


class _BootstrapFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-bootstrap/1"]
    traits: tuple[_Trait, ...]
    sections: dict[str, Any]


@cache
def _file() -> _BootstrapFile:
    return load_data("bootstrap.yaml", _BootstrapFile)


def bootstrap_facts(
    contract: FamilyContract,
    size: str,
    tier: str,
    *,
    repo: str | None = None,
    name: str | None = None,
) -> ModelFacts:
    """Return what is put into a tier's template for one size of a family.

    Args:
        contract: of the family.
        size: a size of the contract.
        tier: the tier that the playbook is for.
        repo: the repository of the model; the catalogue's of that family and size unless given.
        name: the stem of the playbook's name; ``<family>-<size>`` unless given.

    Raises:
        InputError: the contract has no such size or there is no such tier; no repository is given
            or known; or the repository is none.
    """
    size_facts = size_of_contract(contract, size)
    repo = repo or _known_repository(contract, size)
    base = facts_of(
        repo,
        tier,
        name=name or f"{contract.family}-{size}".lower(),
        size=contract.size_categories.get(size),
    )
    traits = [each for each in _file().traits if _holds(each, contract, size_facts)]
    prompts = [" ".join(text.split()) for each in traits for text in each.prompts]
    model: dict[str, Any] = {
        **base.model,
        "family": contract.family,
        "size_variant": size,
        **size_facts.dimensions,
    }
    profile = {
        "family": contract.family,
        "kernel_ops": [kernel for each in traits for kernel in each.kernels],
        "prompt_count": len(prompts),
        "long_context": any(each.min_positions for each in traits),
    }
    return ModelFacts(
        repo=repo,
        name=base.name,
        size_category=base.size_category,
        model=model,
        # Every second question of a cell is the playbook's own: so each is asked in every cell.
        test_matrix={"scenario_count": 2 * len(prompts), "prompts": prompts},
        sections={**_file().sections, "kernel_profile": profile},
        remarks=[f"Architecture and dimensions: the contract of {contract.family}, size {size}."],
    )


def _known_repository(contract: FamilyContract, size: str) -> str:
    known = known_size(contract.family, size)
    if known is None:
        what = f"no repository is known for {contract.family} {size}"
        hint = f"name it with --repo; the family's are {contract.hf_pattern or 'not told'}"
        raise InputError(Problem(what=what, path=contract.path, hint=hint))
    return known.repo


def _holds(trait: _Trait, contract: FamilyContract, size: SizeFacts) -> bool:
    constraints = dict(contract.constraints)
    if size.tied_embeddings is not None:
        constraints["tied_embeddings"] = str(size.tied_embeddings).lower()
    positions = size.max_position_embeddings or _USUAL_POSITIONS
    return positions >= trait.min_positions and all(
        constraints.get(kind) in values for kind, values in trait.constraint.items()
    )
