from itertools import pairwise

import pytest

from aprqa_ci.execution.engines.registry import engines
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.quantizations import quantization_catalogue

GIB = 1 << 30


def test_counts_make_sense() -> None:
    limits = load_limits()
    assert limits.repeat_times >= 2
    assert 0 < limits.repeat_temperature <= 2
    assert limits.memory_rounds >= 1
    assert limits.clients >= 2
    assert limits.process_losses >= 1
    assert 0 < limits.memory_growth_share < 1


def test_classes_are_those_of_the_quantizations_and_get_looser_in_order() -> None:
    classes = load_limits().classes
    order = ["exact", "high", "medium", "low", "poor"]
    assert list(classes) == order
    assert {each.agreement for each in quantization_catalogue().values()} <= set(order)
    for tight, loose in pairwise(classes.values()):
        assert 1 >= tight.agreement > loose.agreement > 0
        assert 0 < tight.weight_error < loose.weight_error < 1


def test_every_engine_has_a_memory_factor_that_holds_the_weights() -> None:
    limits = load_limits()
    assert set(limits.memory_factor) == set(engines())
    assert all(factor >= 1 for factor in limits.memory_factor.values())
    assert limits.memory_needed_mb("unheard-of", GIB) == 1024 * limits.memory_factor_default
    assert limits.memory_needed_mb("reference", GIB) == 1024 * limits.memory_factor["reference"]


@pytest.mark.parametrize("size", [0, 1, GIB, 100 * GIB])
def test_time_for_files_grows_with_their_size(size: int) -> None:
    limits = load_limits()
    share = size / GIB
    assert limits.load_seconds(1500, size) == pytest.approx(
        1.5 + limits.load_seconds_per_gib * share
    )
    assert limits.inspection_seconds(size) == pytest.approx(
        limits.inspect_seconds + limits.inspect_seconds_per_gib * share
    )
