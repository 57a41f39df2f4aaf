import json
from typing import Any

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.planning.matrix import MAX_JOBS, MAX_MATRIX_BYTES, Matrix, matrix_of
from aprqa_ci.planning.plan import Plan, PlannedShard, RunnerGroup, RunsOn
from tests.cells import plan_of


def plan_with(number: int, runs_on: RunsOn = ("self-hosted", "linux", "x64", "gpu")) -> Plan:
    shards = tuple(
        PlannedShard(
            id=f"s{index + 1:03d}",
            cells=("c",),
            expected_seconds=60.0,
            runner="ubuntu-latest",
            runs_on=runs_on,
            timeout_minutes=25,
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


def test_nothing_to_run_is_said() -> None:
    matrix = matrix_of(plan_with(0))
    assert (matrix.shards, matrix.text) == (0, '{"include":[]}')


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
