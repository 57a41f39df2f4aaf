from itertools import pairwise
from typing import Any

import pytest

from aprqa_ci.planning.performance import limits_for
from aprqa_ci.planning.plan import PerformanceLimits
from aprqa_ci.vocabulary import Backend, SizeCategory
from tests.playbooks import load, playbook_data


def limits(size: str = "tiny", **profile: Any) -> dict[Backend, PerformanceLimits]:
    sections: dict[str, Any] = {"profile_ci": profile} if profile else {}
    data = playbook_data(
        model={"size_category": size}, test_matrix={"backends": ["cpu", "gpu"]}, **sections
    )
    return limits_for(load(data).playbook)


def test_there_are_defaults_for_every_size_and_backend() -> None:
    for size in SizeCategory:
        made = limits(size)
        assert set(made) == set(Backend)
        for each in made.values():
            assert 0 < each.max_ttft_ms < each.max_p50_ms < each.max_p99_ms
            assert each.min_throughput > 0
        assert made[Backend.GPU].min_throughput > made[Backend.CPU].min_throughput


def test_less_is_asked_of_a_larger_model() -> None:
    for smaller, larger in pairwise(limits(size) for size in SizeCategory):
        for backend in Backend:
            assert smaller[backend].min_throughput >= larger[backend].min_throughput
            assert smaller[backend].max_p50_ms <= larger[backend].max_p50_ms


def test_only_declared_backends_have_limits() -> None:
    assert set(limits_for(load(playbook_data()).playbook)) == {Backend.CPU}


def test_assertions_win_where_they_are_made() -> None:
    made = limits(assertions={"min_throughput": 9, "max_p99_ms": 70}, backends=["cpu", "gpu"])
    for backend, default in limits().items():
        assert made[backend].min_throughput == 9.0
        assert made[backend].max_p99_ms == 70.0
        assert made[backend].max_ttft_ms == default.max_ttft_ms
        assert made[backend].max_p50_ms == default.max_p50_ms


def test_a_backends_own_throughput_wins() -> None:
    assertions = {"min_throughput": 9, "min_throughput_cpu": 3, "min_throughput_gpu": 0}
    made = limits(assertions=assertions, backends=["cpu", "gpu"])
    assert made[Backend.CPU].min_throughput == 3.0
    assert made[Backend.GPU].min_throughput == 0.0


@pytest.mark.parametrize(
    "profile",
    [
        {"enabled": False, "assertions": {"min_throughput": 9}},
        {"backends": ["gpu"], "assertions": {"min_throughput": 9}},
    ],
)
def test_what_is_switched_off_or_for_another_backend_changes_nothing(
    profile: dict[str, Any],
) -> None:
    assert limits(**profile)[Backend.CPU] == limits()[Backend.CPU]
