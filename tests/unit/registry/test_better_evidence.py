from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.registry.better_evidence import Standing, why_not_better
from aprqa_ci.scoring.certificate import Certificate
from aprqa_ci.vocabulary import Status
from tests.bundles import made_bundle


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of tier mvp, made on 2026-01-02."""
    return made_bundle(Path(tmp_path_factory.mktemp("b"))).certificate


def changed(certificate: Certificate, **changes: Any) -> Certificate:
    return msgspec.structs.replace(certificate, **changes)


def row(
    status: str = "CERTIFIED", tier: str = "mvp", time: str = "2025-12-31T00:00:00Z"
) -> Mapping[str, str]:
    return {
        "status": status,
        "certified_tier": tier,
        "last_certified": time,
        "mqs_score": "850",
    }


NOTHING = Standing(certificate=None, row=None)
OLD = {"evidence_digest": "0" * 64, "finished": "2026-01-01T00:00:00Z"}
NEW = {"evidence_digest": "0" * 64, "finished": "2026-03-01T00:00:00Z"}


def verdict(new: Certificate, standing: Standing = NOTHING, *, verified: bool = True) -> str:
    return why_not_better(new, standing, verified=verified) or "better"


def standing(
    certificate: Certificate | None = None, row: Mapping[str, str] | None = None
) -> Standing:
    return Standing(certificate=certificate, row=row)


def test_the_first_evidence_is_better_than_none(certificate: Certificate) -> None:
    assert verdict(certificate) == "better"
    assert verdict(changed(certificate, status=Status.BLOCKED)) == "better"
    assert verdict(changed(certificate, narrowed=True, status=Status.PROVISIONAL)) == "better"
    assert verdict(certificate, standing(row=row("PENDING", "none", "2099-01-01T00:00:00Z"))) == (
        "better"
    )


def test_unverified_and_inconclusive_evidence_is_never_better(certificate: Certificate) -> None:
    assert "unverified" in verdict(certificate, verified=False)
    assert "inconclusive" in verdict(changed(certificate, status=Status.INCONCLUSIVE))
    assert "inconclusive" in verdict(changed(certificate, finished=None))


@pytest.mark.parametrize("in_row", [True, False])
def test_a_lower_tier_is_not_better(certificate: Certificate, *, in_row: bool) -> None:
    quick = changed(certificate, tier="quick")
    stands = standing(row=row()) if in_row else standing(changed(certificate, **OLD))
    assert verdict(quick, stands) == "tier quick is below mvp, which stands"
    assert verdict(changed(certificate, tier="full"), stands) == "better"
    assert "below mvp" in verdict(changed(certificate, tier="no such tier"), stands)


def test_older_evidence_is_not_better(certificate: Certificate) -> None:
    assert verdict(certificate, standing(changed(certificate, **OLD))) == "better"
    late = "what stands is of 2026-03-01"
    assert late in verdict(certificate, standing(changed(certificate, **NEW)))
    assert late in verdict(certificate, standing(row=row(time="2026-03-01T00:00:00Z")))
    assert late in verdict(
        certificate, standing(row=row("PARTIAL", "none", "2026-03-01T00:00:00+00:00"))
    )
    same_time = changed(certificate, evidence_digest="0" * 64)
    assert "what stands is of" in verdict(certificate, standing(same_time))


def test_the_same_evidence_may_mend_its_row_alone(certificate: Certificate) -> None:
    assert certificate.finished is not None
    own = row(time=certificate.finished)
    assert verdict(certificate, standing(certificate, own)) == "better"
    newer = row(time="2026-03-01T00:00:00Z")
    assert "what stands is of" in verdict(certificate, standing(certificate, newer))


def test_a_row_alone_names_its_evidence_by_the_time(certificate: Certificate) -> None:
    assert certificate.finished is not None
    own = row("BLOCKED", "none", certificate.finished)
    assert verdict(certificate, standing(row=own)) == "better"
    elsewhere = row("BLOCKED", "none", certificate.finished.replace("Z", "+00:00"))
    assert verdict(certificate, standing(row=elsewhere)) == "better"
    could_not = changed(certificate, status=Status.PROVISIONAL)
    assert "could not certify" in verdict(could_not, standing(row=row(time=certificate.finished)))


def test_what_could_not_certify_replaces_no_certificate(certificate: Certificate) -> None:
    provisional = changed(certificate, status=Status.PROVISIONAL)
    assert "could not certify" in verdict(provisional, standing(changed(certificate, **OLD)))
    assert "could not certify" in verdict(provisional, standing(row=row()))
    assert verdict(provisional, standing(row=row("BLOCKED", "none"))) == "better"
    narrowed = changed(certificate, status=Status.BLOCKED, narrowed=True)
    assert "cells were left out" in verdict(narrowed, standing(row=row()))
    assert verdict(narrowed, standing(row=row("PENDING", "none"))) == "better"


def test_a_fall_is_better_evidence(certificate: Certificate) -> None:
    blocked = changed(certificate, status=Status.BLOCKED)
    assert verdict(blocked, standing(changed(certificate, **OLD), row())) == "better"


def test_of_certificate_and_row_the_stricter_counts(certificate: Certificate) -> None:
    both = standing(changed(certificate, tier="quick", **OLD), row(tier="full"))
    assert "below full" in verdict(certificate, both)
    both = standing(changed(certificate, tier="full", **OLD), row("BLOCKED", "none"))
    assert "below full" in verdict(certificate, both)
