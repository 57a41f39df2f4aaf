"""Checking all certifications of a repository: bundles, rows, and the rows' commits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.chain import BrokenLink, Link, Links
from aprqa_ci.certification.provenance import ProvenanceResult, VerifiedAttestation, provenance_of
from aprqa_ci.certification.row_commits import row_commits
from aprqa_ci.certification.verifying import Verification, bundles_below, verify_bundle
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.registry.from_certificate import update_from_certificate
from aprqa_ci.registry.row_checks import differences
from aprqa_ci.registry.row_update import RowUpdate
from aprqa_ci.registry.update_file import read_registry_file
from aprqa_ci.registry.values import UNTESTED
from aprqa_ci.scoring.runs import instant

__all__ = ["Attestations", "RepositoryVerification", "no_attestations", "verify_repository"]

Attestations = Callable[[Bundle], VerifiedAttestation | None]
"""Returns the statement about a bundle whose signature was verified, if there is one."""

_PROVENANCE = "provenance_verified"


@dataclass(frozen=True, kw_only=True)
class RepositoryVerification:
    """What came of checking a repository."""

    holds: bool
    """Whether all can be read, and every link that could be checked holds."""
    bundles: tuple[Verification, ...]
    unreadable: tuple[Problem, ...]
    without_bundle: tuple[str, ...]
    """Models whose row has a status that no certification here gives: nothing is said of them."""
    provenance: Mapping[str, ProvenanceResult]
    """By model, of each row that a certification here gives."""


def no_attestations(bundle: Bundle) -> None:
    """Know of no attestation."""
    del bundle


def verify_repository(
    root: Path,
    *,
    registry: str,
    certifications: str,
    environment: Mapping[str, str],
    attestations: Attestations = no_attestations,
) -> RepositoryVerification:
    """Check every certification of a repository, its row, and the commit that wrote the row.

    Args:
        root: the repository's root.
        registry: the ``models.csv``, from the root.
        certifications: where the bundles are, from the root.
        environment: of this process, for git.
        attestations: finds the verified statement about a bundle.

    Raises:
        InputError: the registry cannot be read, or there is no certification.
    """
    rows = {row["model_id"]: row for row in read_registry_file(root / registry).rows}
    read: list[_Read] = []
    unreadable: list[Problem] = []
    for directory in bundles_below(root / certifications):
        place = directory.relative_to(root).as_posix()
        try:
            verification, bundle = verify_bundle(directory, place=place)
        except InputError as error:
            unreadable += error.problems
            continue
        read.append(_Read(place=place, verification=verification, bundle=bundle))
    giving = _giving(read, rows)
    commits = row_commits(root, registry, rows, environment)
    verified: dict[str, Verification] = {}
    for each in read:
        links = _row_links(each, rows, giving, registry)
        if giving.get(each.model) == each.place and each.bundle is not None:
            links += commits(each.bundle, each.place)
        verified[each.place] = each.verification.amended(links)
    return RepositoryVerification(
        holds=not unreadable and all(each.holds for each in verified.values()),
        bundles=tuple(verified.values()),
        unreadable=tuple(unreadable),
        without_bundle=tuple(
            model
            for model, row in rows.items()
            if row["status"] not in UNTESTED and model not in giving
        ),
        provenance={
            each.model: provenance_of(each.bundle, verified[each.place], attestations(each.bundle))
            for each in read
            if each.bundle is not None and giving.get(each.model) == each.place
        },
    )


@dataclass(frozen=True, kw_only=True)
class _Read:
    place: str
    verification: Verification
    bundle: Bundle | None

    @property
    def model(self) -> str:
        return "" if self.bundle is None else self.bundle.certificate.model.hf_repo

    @property
    def update(self) -> RowUpdate | None:
        """What the certificate says of its model's row, if it says anything."""
        return None if self.bundle is None else update_from_certificate(self.bundle.certificate)


def _giving(read: list[_Read], rows: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the bundle that gives each model's row word for word, the last where several do."""
    giving = {}
    for each in sorted(
        read, key=lambda one: instant(one.update.last_certified if one.update else "")
    ):
        row = rows.get(each.model)
        if row is not None and each.update is not None and not differences(row, each.update):
            giving[each.model] = each.place
    return giving


def _row_links(
    read: _Read,
    rows: Mapping[str, Mapping[str, str]],
    giving: Mapping[str, str],
    registry: str,
) -> Links:
    if read.bundle is None:
        return Links()
    update, row = read.update, rows.get(read.model)
    giver = giving.get(read.model)
    if update is None:
        return Links.not_checked(Link.REGISTRY, "the certificate says nothing about its model")
    if row is None:
        what = f"the registry has no row of {read.model}"
        return Links(broken=(BrokenLink(link=Link.REGISTRY, what=what, path=registry),))
    if giver == read.place:
        return Links(held=(Link.REGISTRY,))
    if giver is not None:
        return Links.not_checked(Link.REGISTRY, f"the row is that of {giver}")
    return Links(
        broken=tuple(
            BrokenLink(link=Link.REGISTRY, what=f"{read.model}: {what}", path=registry)
            for _, what in differences(row, update)
        )
    )
