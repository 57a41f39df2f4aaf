from itertools import pairwise

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.planning.tiers import default_tier, load_tiers, tier_named, tiers_through
from aprqa_ci.vocabulary import Backend

# name: least scenarios, backends, formats, whether it certifies
PROMISED = {
    "quick": (5, {Backend.CPU}, 1, False),
    "smoke": (15, {Backend.CPU, Backend.GPU}, 2, False),
    "mvp": (50, None, None, True),
    "full": (200, None, None, True),
}


def test_tiers_are_what_was_promised() -> None:
    found = {
        tier.name: (
            tier.minimum_scenarios,
            None if tier.backends is None else set(tier.backends),
            tier.formats,
            tier.certifying,
        )
        for tier in load_tiers().values()
    }
    assert found == PROMISED


def test_a_higher_tier_has_all_that_a_lower_one_has() -> None:
    for lower, higher in pairwise(load_tiers().values()):
        assert lower.minimum_scenarios < higher.minimum_scenarios
        assert set(lower.checks) <= set(higher.checks)
        assert set(lower.suites) <= set(higher.suites)
        assert lower.edge <= higher.edge
        assert lower.stress <= higher.stress
        assert lower.certifying <= higher.certifying


def test_full_alone_adds_stress() -> None:
    assert [tier.name for tier in load_tiers().values() if tier.stress] == ["full"]


def test_names_and_other_words_for_them() -> None:
    assert tier_named("mvp").name == "mvp"
    assert tier_named("nightly").name == "full"
    assert tier_named(default_tier()).certifying


def test_an_unknown_tier_is_named_with_its_neighbour() -> None:
    with pytest.raises(InputError, match=r"no tier 'quik'; known: quick, .*perhaps 'quick' is"):
        tier_named("quik")


def test_the_tiers_up_to_one() -> None:
    assert tiers_through("full") == ("quick", "smoke", "mvp", "full")
    assert tiers_through("standard") == ("quick", "smoke", "mvp")
    assert tiers_through("quick") == ("quick",)
    with pytest.raises(InputError, match="there is no tier"):
        tiers_through("none")
