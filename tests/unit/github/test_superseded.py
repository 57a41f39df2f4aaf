"""The rule as a table: what is open, what is there now, and whether it supersedes."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from aprqa_ci.github.certified import Certified
from aprqa_ci.github.superseded import why_superseded

OLD = Certified(
    playbook="old-mvp",
    path="playbooks/old-mvp.yaml",
    model="acme/model",
    tier="mvp",
    finished="2026-01-02T00:00:00Z",
    base="main",
)
NEWER = "2026-01-03T00:00:00Z"


def new(**changes: Any) -> Certified:
    return msgspec.structs.replace(OLD, playbook="new-mvp", finished=NEWER, **changes)


def row(tier: str, time: str, status: str = "CERTIFIED") -> Mapping[str, str]:
    return {"status": status, "certified_tier": tier, "last_certified": time}


def decided(
    *,
    old: Certified = OLD,
    aimed_at: str = "main",
    standing: Mapping[str, str] | None = None,
    successors: tuple[Certified, ...] = (),
    gone: bool = False,
    base: str = "main",
) -> tuple[str, str] | None:
    found = why_superseded(
        old,
        aimed_at=aimed_at,
        base=base,
        rows={} if standing is None else {"acme/model": standing},
        successors=successors,
        playbook_is_gone=gone,
    )
    return None if found is None else (found.by, found.reason)


SAME = msgspec.structs.replace(OLD, finished=NEWER, base="trunk")
UNTESTED = row("full", "2099-01-01T00:00:00Z", "PENDING")


@pytest.mark.parametrize(
    ("case", "by", "reason"),
    [
        # what stands on the base
        ({"standing": row("mvp", "2026-01-02T00:00:00Z")}, "", "what stands is of"),
        ({"standing": row("quick", "2026-01-02T00:00:01Z")}, "", "what stands is of"),
        ({"standing": row("full", "2020-01-01T00:00:00Z")}, "", "tier mvp is below full"),
        # a renamed playbook
        ({"successors": (new(),), "gone": True}, "aprqa/certify/new-mvp", "is gone from"),
        (
            {"successors": (new(tier="full"),), "gone": True},
            "aprqa/certify/new-mvp",
            "is gone from",
        ),
        # another base branch
        (
            {"base": "trunk", "successors": (SAME,)},
            "aprqa/certify/old-mvp",
            "now proposed for `trunk`",
        ),
    ],
)
def test_it_is_superseded(case: dict[str, Any], by: str, reason: str) -> None:
    found = decided(**case)
    assert found is not None
    assert found[0] == by
    assert reason in found[1]


@pytest.mark.parametrize(
    "case",
    [
        {},
        # what stands is older, of a lower tier, or of nobody's testing
        {"standing": row("mvp", "2026-01-01T23:59:59Z")},
        {"standing": row("quick", "2020-01-01T00:00:00Z")},
        {"standing": row("mvp", "no time")},
        # two playbooks of one model are two certifications
        {"successors": (new(),)},
        # a playbook that is gone, and no successor, or one that does not reach as far
        {"gone": True},
        {"successors": (new(tier="smoke"),), "gone": True},
        {"successors": (new(model="acme/other"),), "gone": True},
        {
            "successors": (msgspec.structs.replace(new(), finished=OLD.finished),),
            "gone": True,
        },
        # it is the successor itself, made anew from what stands
        {
            "successors": (OLD,),
            "gone": True,
            "standing": row("mvp", "2026-01-02T00:00:00Z"),
        },
        # the base moved, and nothing was proposed for the new one
        {"base": "trunk"},
        {"base": "trunk", "successors": (new(base="trunk"),)},
        {"base": "trunk", "standing": row("full", "2099-01-01T00:00:00Z")},
        # a person has aimed it at another branch
        {"aimed_at": "release", "successors": (msgspec.structs.replace(SAME, base="main"),)},
        {"aimed_at": "release", "standing": row("full", "2099-01-01T00:00:00Z")},
    ],
)
def test_it_stays_open(case: dict[str, Any]) -> None:
    assert decided(**case) is None


def test_a_row_of_an_untested_model_says_nothing() -> None:
    assert decided(standing=row("none", "2099-01-01T00:00:00Z", "PENDING")) is None
