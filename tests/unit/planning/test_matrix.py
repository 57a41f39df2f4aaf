import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.planning.matrix import (
    MAX_JOBS,
    MAX_MATRIX_BYTES,
    Matrix,
    groups_of,
    matrix_of,
)
from aprqa_ci.planning.plan import Plan, PlannedShard, RunnerGroup, RunsOn
from tests.cells import plan_of


def plan_with(
    number: int,
    runs_on: RunsOn = ("self-hosted", "linux", "x64", "gpu"),
    *,
    runner: str = "ubuntu-latest",
    max_parallel: int | None = 20,
    first: int = 1,
) -> Plan:
    shards = tuple(
        PlannedShard(
            id=f"s{index + first:03d}",
            cells=("c",),
            expected_seconds=60.0,
            runner=runner,
            runs_on=runs_on,
            timeout_minutes=25,
            max_parallel=max_parallel,
        )
        for index in range(number)
    )
    return plan_of(shards=shards)


def shards_of(matrix: Matrix) -> list[dict[str, Any]]:
    """The entries that GitHub would run, both levels taken apart as a workflow does."""
    entries = json.loads(matrix.text)["include"]
    if matrix.levels == 1:
        return list(entries)
    return [inner for entry in entries for inner in json.loads(entry["matrix"])["include"]]


def test_an_entry_says_all_that_a_job_needs() -> None:
    matrix = matrix_of(plan_with(1, "ubuntu-latest"))
    assert json.loads(matrix.text) == {
        "include": [
            {
                "shard": "s001",
                "runs-on": "ubuntu-latest",
                "timeout-minutes": 25,
                "name": "s001 ubuntu-latest",
                "runner": "ubuntu-latest",
            }
        ]
    }


@pytest.mark.parametrize(
    ("runs_on", "written"),
    [
        ("a", "a"),
        (("a", "b"), ["a", "b"]),
        (RunnerGroup(group="g"), {"group": "g"}),
        (RunnerGroup(group="g", labels=("a", "b")), {"group": "g", "labels": ["a", "b"]}),
    ],
)
def test_runs_on_is_what_github_takes(runs_on: RunsOn, written: object) -> None:
    (entry,) = shards_of(matrix_of(plan_with(1, runs_on)))
    assert entry["runs-on"] == written


@pytest.mark.parametrize("number", [1, 255, 256, 257, 300, 512, 513, 5000])
def test_every_shard_is_run_once_within_githubs_limits(number: int) -> None:
    matrix = matrix_of(plan_with(number))
    assert sorted(each["shard"] for each in shards_of(matrix)) == sorted(
        shard.id for shard in plan_with(number).shards
    )
    assert matrix.shards == number
    assert matrix.levels == (1 if number <= MAX_JOBS else 2)
    assert len(matrix.include) <= MAX_JOBS
    assert len(matrix.text.encode()) < 1 << 20
    assert "\n" not in matrix.text
    if matrix.levels == 2:
        sizes = [len(json.loads(each["matrix"])["include"]) for each in matrix.include]
        assert max(sizes) <= MAX_JOBS
        assert max(sizes) - min(sizes) <= 1
        assert len({each["group"] for each in matrix.include}) == len(sizes)


def two_classes(cpu: int, gpu: int, *, cpu_most: int = 20, gpu_most: int = 1) -> Plan:
    one = plan_with(cpu, "ubuntu-latest", runner="cpu", max_parallel=cpu_most)
    other = plan_with(gpu, runner="gpu", max_parallel=gpu_most, first=cpu + 1)
    return plan_of(shards=(*one.shards, *other.shards))


@given(st.integers(0, 600), st.integers(0, 600), st.integers(1, 1024), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_groups_run_every_shard_once_and_no_class_beyond_its_limit(
    cpu: int, gpu: int, cpu_most: int, gpu_most: int
) -> None:
    plan = two_classes(cpu, gpu, cpu_most=cpu_most, gpu_most=gpu_most)
    groups = groups_of(plan)
    assert [each["shard"] for each in sorted(shards_of(groups), key=lambda one: one["shard"])] == [
        shard.id for shard in sorted(plan.shards, key=lambda one: one.id)
    ]
    assert groups.shards == cpu + gpu
    at_a_time = {"cpu": 0, "gpu": 0}
    numbers = {"cpu": 0, "gpu": 0}
    for each in groups.include if plan.shards else ():
        inner = json.loads(each["matrix"])["include"]
        (runner,) = {one["runner"] for one in inner}
        assert each["group"].endswith(f" {runner}")
        assert 1 <= len(inner) <= MAX_JOBS
        assert 1 <= each["max-parallel"] <= MAX_JOBS
        at_a_time[runner] += each["max-parallel"]
        numbers[runner] += 1
    most = {"cpu": min(cpu, cpu_most), "gpu": min(gpu, gpu_most)}
    for runner, found in at_a_time.items():
        # A matrix runs at least one job, so a class of several groups has one of each.
        assert found == max(most[runner], numbers[runner])


@pytest.mark.parametrize(
    ("plan", "most"),
    [
        (plan_with(0), 1),
        (plan_with(3), 3),
        (plan_with(30), 20),
        (plan_with(30, max_parallel=None), 30),
        (plan_with(256, max_parallel=1024), 256),
        (two_classes(30, 8), 21),
        (two_classes(300, 1), 3),
    ],
)
def test_a_flat_matrix_runs_what_the_classes_allow_together(plan: Plan, most: int) -> None:
    assert matrix_of(plan).max_parallel == most


def test_nothing_to_run_is_said() -> None:
    matrix = matrix_of(plan_with(0))
    assert (matrix.shards, matrix.text) == (0, '{"include":[]}')
    (empty,) = groups_of(plan_with(0)).include
    assert (empty["matrix"], empty["max-parallel"]) == ('{"include":[]}', 1)


def test_a_plan_for_one_machine_has_no_matrix() -> None:
    shard = PlannedShard(id="s001", cells=("c",), expected_seconds=1.0)
    with pytest.raises(InputError, match="make the plan with --runners"):
        matrix_of(plan_of(shards=(shard,)))


def test_what_github_would_refuse_is_an_error_that_says_what_to_do() -> None:
    long = tuple(f"a-label-that-is-long-{number}" * 4 for number in range(16))
    with pytest.raises(InputError, match=r"GitHub takes .* \(raise --target-minutes"):
        matrix_of(plan_with(3000, long))


def test_the_bounds_are_githubs() -> None:
    assert MAX_JOBS == 256
    assert MAX_MATRIX_BYTES < 1 << 20


def test_foreign_labels_stay_data() -> None:
    hostile = ('"}]}', "${{ github.token }}", "line\nbreak", "\u202egnp.exe")
    (entry,) = shards_of(matrix_of(plan_with(1, hostile)))
    assert entry["runs-on"] == list(hostile)
    text = matrix_of(plan_with(1, hostile)).text
    assert text.isascii()
    assert "\n" not in text
