"""Whether playbooks and registry say of a model what its family's contract says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aprqa_ci.planning.family_contract import FamilyContract
from aprqa_ci.planning.model_size import named_billions
from aprqa_ci.playbook.load import LoadedPlaybook
from aprqa_ci.playbook.model import ModelSpec
from aprqa_ci.registry.models_csv import Registry

__all__ = ["Alignment", "Contradiction", "ContradictionKind", "align"]


class ContradictionKind(StrEnum):
    """What is contradicted."""

    SIZE_CATEGORY = "size-category"
    FAMILY = "family"
    SIZE = "size"
    DIMENSION = "dimension"


@dataclass(frozen=True, kw_only=True)
class Contradiction:
    """One thing that a file says and a contract says otherwise."""

    kind: ContradictionKind
    subject: str
    """The playbook's name, or the model of the registry's row."""
    path: str
    line: int | None
    what: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line is not None else str(self.path)
        return f"{place}: {self.subject}: {self.what}"


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """What was compared, and what came of it."""

    compared: tuple[str, ...]
    """The playbooks and rows that a contract is there for."""
    without_contract: tuple[str, ...]
    """Those that there is none for: nothing is said of them."""
    notices: tuple[str, ...]
    """What a playbook could state and does not, and repositories outside their family's pattern,
    which fine-tuned models are."""
    contradictions: tuple[Contradiction, ...]


def align(
    contracts: Mapping[str, FamilyContract],
    playbooks: Sequence[LoadedPlaybook],
    registry: Registry | None,
) -> Alignment:
    """Compare playbooks and rows with the contracts of their families. Pure.

    A playbook is of the family that it names, else of the one whose pattern its repository
    matches; a row is of the one whose pattern its model matches. The size is the playbook's
    ``size_variant``, else the number in the repository's name.
    """
    compared: list[str] = []
    without: list[str] = []
    notices: list[str] = []
    contradictions: list[Contradiction] = []
    for loaded in playbooks:
        model, name = loaded.playbook.model, loaded.playbook.name
        contract = _contract_of(model, contracts)
        if contract is None:
            without.append(name)
            continue
        compared.append(name)
        notices += _notices(loaded, contract)
        for key, kind, what in _of_playbook(model, contract, contracts):
            line = loaded.lines.get(("model", key))
            contradictions.append(
                Contradiction(kind=kind, subject=name, path=str(loaded.path), line=line, what=what)
            )
    for row in registry.rows if registry is not None else ():
        repo = row["model_id"]
        contract = _by_pattern(repo, contracts)
        size = None if contract is None else _size_named(repo, contract)
        if contract is None or size is None:
            without.append(repo)
            continue
        compared.append(repo)
        wanted = contract.size_categories.get(size)
        if wanted is not None and row["size_category"] != wanted:
            contradictions.append(
                Contradiction(
                    kind=ContradictionKind.SIZE_CATEGORY,
                    subject=repo,
                    path="" if registry is None else str(registry.source),
                    line=None,
                    what=f"size_category is {row['size_category']}, {wanted} in "
                    f"{contract.path.name}",
                )
            )
    return Alignment(
        compared=tuple(compared),
        without_contract=tuple(without),
        notices=tuple(notices),
        contradictions=tuple(contradictions),
    )


def _contract_of(
    model: ModelSpec, contracts: Mapping[str, FamilyContract]
) -> FamilyContract | None:
    if model.family is not None:
        return contracts.get(model.family)
    return _by_pattern(model.hf_repo, contracts)


def _by_pattern(repo: str, contracts: Mapping[str, FamilyContract]) -> FamilyContract | None:
    return next((each for each in contracts.values() if each.matches(repo)), None)


def _size_named(repo: str, contract: FamilyContract) -> str | None:
    """Return the contract's size whose number of parameters is the one in the name."""
    billions = named_billions(repo)
    return next((size for size in contract.sizes if named_billions(size) == billions), None)


def _notices(loaded: LoadedPlaybook, contract: FamilyContract) -> Iterator[str]:
    model = loaded.playbook.model
    size = model.size_variant or _size_named(model.hf_repo, contract)
    keys = ["family", "size_variant"]
    if size is not None and size in contract.sizes:
        keys += list(contract.sizes[size].dimensions)
    missing = [key for key in keys if getattr(model, key) is None]
    if missing:
        yield f"{loaded.path}: does not state {', '.join(missing)}"
    if contract.hf_pattern and not contract.matches(model.hf_repo):
        pattern = f"{contract.hf_pattern}, the pattern of {contract.path.name}"
        yield f"{loaded.path}: {model.hf_repo} does not match {pattern}"


def _of_playbook(
    model: ModelSpec, contract: FamilyContract, contracts: Mapping[str, FamilyContract]
) -> Iterator[tuple[str, ContradictionKind, str]]:
    """Yield the key, kind and sentence of each thing that the contract says otherwise."""
    file = contract.path.name
    other = _by_pattern(model.hf_repo, contracts)
    if other is not None and other.family != contract.family:
        what = f"family is {contract.family}, and {model.hf_repo} is of {other.family}"
        yield "family", ContradictionKind.FAMILY, f"{what} by the pattern of {other.path.name}"
    size = model.size_variant or _size_named(model.hf_repo, contract)
    if size is None or size not in contract.sizes:
        if model.size_variant is not None:
            known = ", ".join(contract.sizes)
            what = f"size_variant is {model.size_variant}, and {file} has {known}"
            yield "size_variant", ContradictionKind.SIZE, what
        return
    category = contract.size_categories.get(size)
    if category is not None and model.size_category != category:
        what = f"size_category is {model.size_category}, {category} in {file}"
        yield "size_category", ContradictionKind.SIZE_CATEGORY, what
    for key, value in contract.sizes[size].dimensions.items():
        stated = getattr(model, key)
        if stated is not None and stated != value:
            what = f"{key} is {stated}, {value} in {file}"
            yield key, ContradictionKind.DIMENSION, what
