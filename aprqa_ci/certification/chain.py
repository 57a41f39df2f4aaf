"""The chain of digests: its links, and what is said of a link that does not hold."""

from dataclasses import dataclass
from enum import StrEnum

from aprqa_ci.errors import Problem

__all__ = ["BrokenLink", "Link", "Links", "UncheckedLink", "in_order"]


class Link(StrEnum):
    """What is held against what, in the order of the chain."""

    MODELS = "models"
    """The model's files are those that the certificate names."""
    PLAN = "plan"
    """Certificate and evidence are of this plan, and its baseline is the accepted certificate."""
    SHARDS = "shards"
    """The records are those that the manifests of the shards name."""
    RECORDS = "records"
    """Each record is of the plan, asked as planned, and stands on what it says it stands on."""
    EVIDENCE = "evidence"
    """The bytes of the evidence are those that the certificate names."""
    CERTIFICATE = "certificate"
    """Scoring the evidence again gives the certificate, every value of it."""
    REPORTS = "reports"
    """The reports are those of this certificate."""
    REGISTRY = "registry"
    """The model's row says what the certificate says."""
    COMMIT = "commit"
    """The commit that wrote the row holds this bundle."""
    ATTESTATION = "attestation"
    """The workflow that is expected to have made the bundle has signed that it did."""


_ORDER = {link: place for place, link in enumerate(Link)}


@dataclass(frozen=True, kw_only=True)
class BrokenLink:
    """A link that does not hold."""

    link: Link
    what: str
    path: str
    """The file or directory that it was found in."""
    hint: str = ""

    @classmethod
    def of(cls, link: Link, problem: Problem) -> "BrokenLink":
        """Return a problem as a broken link."""
        path = "" if problem.path is None else str(problem.path)
        return cls(link=link, what=problem.what, path=path, hint=problem.hint)

    @property
    def problem(self) -> Problem:
        """The same as a problem of an input."""
        return Problem(what=self.what, path=self.path or None, hint=self.hint)

    def __str__(self) -> str:
        return f"{self.link}: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class UncheckedLink:
    """A link that nothing here could be held against."""

    link: Link
    why: str

    def __str__(self) -> str:
        return f"{self.link}: {self.why}"


def in_order(broken: list[BrokenLink]) -> tuple[BrokenLink, ...]:
    """Return broken links in the order of the chain; within a link, in the order found."""
    return tuple(sorted(broken, key=lambda each: _ORDER[each.link]))


@dataclass(frozen=True, kw_only=True)
class Links:
    """What is said of some links of the chain."""

    broken: tuple[BrokenLink, ...] = ()
    unchecked: tuple[UncheckedLink, ...] = ()
    held: tuple[Link, ...] = ()

    @classmethod
    def not_checked(cls, link: Link, why: str) -> "Links":
        """Say that one link could not be checked, and nothing else."""
        return cls(unchecked=(UncheckedLink(link=link, why=why),))

    def __add__(self, other: "Links") -> "Links":
        return Links(
            broken=self.broken + other.broken,
            unchecked=self.unchecked + other.unchecked,
            held=self.held + other.held,
        )
