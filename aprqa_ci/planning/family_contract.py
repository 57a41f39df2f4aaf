"""Contracts of model families, as aprender keeps them: a file a family, read for its facts.

The files are another project's. What is read of them is held to its types; the rest of them is
left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded
from aprqa_ci.playbook.yaml_source import MAX_YAML_BYTES, YamlDocument, read_yaml
from aprqa_ci.vocabulary import SizeCategory
from aprqa_ci.wire import near_name

__all__ = [
    "FamilyContract",
    "SizeFacts",
    "read_family_contract",
    "read_family_contracts",
    "size_of_contract",
]

_Dimension = Annotated[int, Meta(ge=1, le=(1 << 32) - 1)]
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class SizeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The dimensions of one size of a family; what a family does not have is absent."""

    parameters: str | None = None
    hidden_dim: _Dimension | None = None
    num_layers: _Dimension | None = None
    num_heads: _Dimension | None = None
    num_kv_heads: _Dimension | None = None
    vocab_size: _Dimension | None = None
    intermediate_dim: _Dimension | None = None
    max_position_embeddings: _Dimension | None = None
    tied_embeddings: bool | None = None

    @property
    def dimensions(self) -> dict[str, int]:
        """The keys of a playbook's ``model`` section that state dimensions, with their values."""
        names = ("hidden_dim", "num_layers", "num_heads", "num_kv_heads", "vocab_size")
        values = {name: getattr(self, name) for name in (*names, "intermediate_dim")}
        return {f"expected_{name}": value for name, value in values.items() if value is not None}


class _Certification(msgspec.Struct, frozen=True, kw_only=True):
    csv_family_key: str | None = None
    size_categories: dict[str, SizeCategory] = {}


class _Contract(msgspec.Struct, frozen=True, kw_only=True):
    family: _Name
    size_variants: Annotated[dict[_Name, SizeFacts], Meta(min_length=1, max_length=100)]
    constraints: dict[str, str | bool | int | float | None]
    hf_pattern: str = ""
    certification: _Certification = _Certification()


@dataclass(frozen=True, kw_only=True)
class FamilyContract:
    """What a family's contract states."""

    path: Path
    family: str
    hf_pattern: str
    """Which repositories are of the family, as a glob; empty when it does not say."""
    sizes: Mapping[str, SizeFacts]
    constraints: Mapping[str, str]
    """The architecture, by kind: ``attention_type`` is ``gqa``. Booleans as text."""
    size_categories: Mapping[str, SizeCategory]
    registry_family: str | None
    """What the family is called in ``models.csv``."""

    def matches(self, repo: str) -> bool:
        """Return whether the repository is of the family, as its pattern has it.

        The hub does not tell the case of letters apart, and patterns are written carelessly.
        """
        return fnmatchcase(repo.lower(), self.hf_pattern.lower())


def read_family_contracts(folder: Path) -> dict[str, FamilyContract]:
    """Read every contract of a folder, by family. Files whose names begin with ``_`` are none.

    Raises:
        InputError: the folder has none, or with the problems of all of them.
    """
    paths = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("_"))
    if not paths:
        what = "there are no family contracts here"
        hint = "name the folder model-families of aprender's contracts"
        raise InputError(Problem(what=what, path=folder, hint=hint))
    problems: list[Problem] = []
    contracts: dict[str, FamilyContract] = {}
    for path in paths:
        try:
            contract = read_family_contract(path)
        except InputError as error:
            problems += error.problems
        else:
            contracts[contract.family] = contract
    if problems:
        raise InputError(problems)
    return contracts


def read_family_contract(path: Path) -> FamilyContract:
    """Read one contract.

    Raises:
        InputError: with the first thing that is wrong with it, and its line.
    """
    document = read_yaml(read_bounded(path, MAX_YAML_BYTES), source=path)
    try:
        contract = msgspec.convert(document.data, type=_Contract, strict=False)
    except msgspec.ValidationError as error:
        what = f"not a family contract: {error}"
        line = _line_of(document, str(error))
        raise InputError(Problem(what=what, path=path, line=line)) from error
    return FamilyContract(
        path=path,
        family=contract.family,
        hf_pattern=contract.hf_pattern,
        sizes=contract.size_variants,
        constraints={
            kind: str(value).lower() if isinstance(value, bool) else str(value)
            for kind, value in contract.constraints.items()
        },
        size_categories=contract.certification.size_categories,
        registry_family=contract.certification.csv_family_key,
    )


def size_of_contract(contract: FamilyContract, size: str) -> SizeFacts:
    """Return the facts of one size.

    Raises:
        InputError: the contract has no such size; the message has those that it has.
    """
    if size not in contract.sizes:
        known = list(contract.sizes)
        hint = near_name(size, known) or f"there are {', '.join(known)}"
        what = f"the family {contract.family} has no size {size!r}"
        raise InputError(Problem(what=what, path=contract.path, hint=hint))
    return contract.sizes[size]


def _line_of(document: YamlDocument, message: str) -> int | None:
    _, _, place = message.rpartition(" - at `$.")
    key: Any = place.removesuffix("`").split(".")[0].split("[")[0]
    return document.lines.get((key,)) if key else None
