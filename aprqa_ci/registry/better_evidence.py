"""Whether a certificate is better evidence than what the registry stands on."""

from collections.abc import Mapping
from dataclasses import dataclass

from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.registry.models_csv import Registry
from aprqa_ci.registry.values import UNTESTED
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.scoring.runs import instant
from aprqa_ci.vocabulary import Status

__all__ = ["Standing", "row_of", "tier_rank", "why_behind", "why_not_better"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is said of a model before a certificate is to change it."""

    certificate: Certificate | None
    """The playbook's certificate, if it is known; a registry on disk is no proof of one."""
    row: Mapping[str, str] | None
    """The model's row of the registry, if there is one; other playbooks write it as well."""

    @property
    def tier(self) -> str | None:
        """The highest tier that is known of."""
        names = [self.certificate.tier] if self.certificate else []
        if self.row is not None:
            names.append(self.row["certified_tier"])
        known = [name for name in names if name in load_tiers()]
        return max(known, key=tier_rank, default=None)

    @property
    def since(self) -> str:
        """The newest time that is known of, RFC 3339; empty where none is."""
        times = [self.certificate.finished or ""] if self.certificate else []
        if self.row is not None and self.row["status"] not in UNTESTED:
            times.append(self.row["last_certified"])
        return max(times, key=instant, default="")

    @property
    def status(self) -> str | None:
        """The registry's word; without one, the certificate's. Nothing where nobody tested."""
        if self.row is not None and self.row["status"] not in UNTESTED:
            return self.row["status"]
        return None if self.certificate is None else self.certificate.status.value


def why_not_better(new: Certificate, standing: Standing, *, verified: bool) -> str | None:
    """Return why a certificate is no reason to change the registry; nothing when it is. Pure.

    A model that falls from CERTIFIED to BLOCKED is a reason like any other: what is newer and of no
    lower tier counts, good or bad. What failed is never hidden by a result that shows less.

    Args:
        new: the certificate.
        standing: what it would replace.
        verified: whether the evidence is that of somebody who may say so; of pull requests, whether
            a run on reviewed files of this repository made it.
    """
    if not verified:
        return "the evidence is unverified: no run on the default branch made it"
    if new.status is Status.INCONCLUSIVE or new.finished is None:
        return "the run is inconclusive: it says nothing about the model"
    if below := _below(new.tier, standing):
        return below
    stands = standing.certificate
    # A row names no evidence but by its time.
    is_same = stands is None or stands.evidence_digest == new.evidence_digest
    # The evidence that stands may mend what was written of it, unless the row has moved on.
    mends = is_same and instant(new.finished) == instant(standing.since)
    if not mends and (older := _not_newer(new.finished, standing)):
        return older
    if new.narrowed and standing.status is not None:
        return "cells were left out (--only, --backend), and a result of the whole stands"
    if new.status is Status.PROVISIONAL and standing.status == Status.CERTIFIED.value:
        return "the run could not certify, and a certificate stands"
    return None


def why_behind(tier: str, finished: str, standing: Standing) -> str | None:
    """Return why evidence is behind what stands: of a lower tier, or not newer. Pure.

    Args:
        tier: of the evidence.
        finished: when it ended, RFC 3339.
        standing: what it would replace.
    """
    return _below(tier, standing) or _not_newer(finished, standing)


def tier_rank(tier: str) -> int:
    """Return a tier's place, the smallest first; one that is not known is below all."""
    names = list(load_tiers())
    return names.index(tier) if tier in names else -1


def row_of(registry: Registry, model: str) -> Mapping[str, str] | None:
    """Return a model's row, if it has one."""
    return next((row for row in registry.rows if row["model_id"] == model), None)


def _below(tier: str, standing: Standing) -> str | None:
    if standing.tier is None or tier_rank(tier) >= tier_rank(standing.tier):
        return None
    return f"tier {tier} is below {standing.tier}, which stands"


def _not_newer(finished: str, standing: Standing) -> str | None:
    if instant(finished) > instant(standing.since):
        return None
    return f"the evidence ends {finished}; what stands is of {standing.since}"
