import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aprqa_ci.errors import InputError
from aprqa_ci.planning import shards as subject
from aprqa_ci.planning.balancing import Item
from aprqa_ci.planning.durations import expected_seconds
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.packing import lower_bound
from aprqa_ci.planning.plan import PlannedCell, PlannedShard, digest_for_playbook
from aprqa_ci.planning.runner_classes import RunnerClass, default_runners
from aprqa_ci.planning.shards import Packed, ShardOptions, pack, packing_facts, timeout_minutes
from aprqa_ci.playbook.load import load_playbooks
from aprqa_ci.vocabulary import Backend
from tests.playbooks import ROOT, planned, playbook_data

PLAN = planned(
    playbook_data(
        model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0", "q4_0"]},
        test_matrix={"modalities": ["run", "chat", "serve"], "backends": ["cpu", "gpu"]},
    ),
    playbook_data("another", model={"hf_repo": "org/another"}),
    tier="mvp",
)
CELLS = st.lists(st.sampled_from(PLAN.cells), min_size=1, unique_by=lambda cell: cell.id)
CPU = RunnerClass(
    name="cpu",
    runs_on="ubuntu-latest",
    backend=Backend.CPU,
    self_hosted=False,
    memory_gb=900,
    disk_gb=900,
)
GPU = RunnerClass(
    name="gpu",
    runs_on=("self-hosted", "gpu"),
    backend=Backend.GPU,
    self_hosted=True,
    memory_gb=900,
    disk_gb=900,
    vram_gb=900,
    max_parallel=3,
)


def packed(cells: list[PlannedCell] | None = None, **options: Any) -> Packed:
    return pack(cells or PLAN.cells, PLAN.playbooks, ShardOptions(**options))


def items_of(cells: list[PlannedCell]) -> tuple[list[Item], dict[str, float]]:
    by_name = {playbook.name: playbook for playbook in PLAN.playbooks}
    pool = subject._pool(None, cells, by_name, {})
    return list(pool.items), dict(pool.setup)


@given(CELLS, st.integers(1, 30))
def test_every_cell_is_in_exactly_one_shard(cells: list[PlannedCell], number: int) -> None:
    shards = packed(cells, shards=number).shards
    assert len(shards) <= min(number, len(cells))
    assert len({shard.id for shard in shards}) == len(shards)
    names = [name for shard in shards for name in shard.cells]
    assert Counter(names) == Counter(cell.id for cell in cells)
    assert all(shard.cells for shard in shards)


@given(CELLS, st.integers(1, 30))
def test_a_shard_takes_what_its_cells_and_their_files_take(
    cells: list[PlannedCell], number: int
) -> None:
    items, setup = items_of(cells)
    known = {item.name: item for item in items}
    for shard in packed(cells, shards=number).shards:
        own = [known[name] for name in shard.cells]
        files = {item.group for item in own}
        total = sum(item.seconds for item in own) + sum(setup[name] for name in files)
        assert shard.expected_seconds == pytest.approx(total, abs=0.06)


@given(CELLS, st.integers(1, 5))
def test_packing_follows_plan_order_and_nothing_else(cells: list[PlannedCell], number: int) -> None:
    shards = packed(cells, shards=number).shards
    order = [cell.id for cell in cells]
    assert all(list(shard.cells) == sorted(shard.cells, key=order.index) for shard in shards)
    again = packed(cells[::-1], shards=number).shards
    assert [set(shard.cells) for shard in again] == [set(shard.cells) for shard in shards]


def test_playbooks_of_one_model_share_its_files() -> None:
    plan = planned(playbook_data("one"), playbook_data("two"), tier="mvp")
    (shard,) = pack(plan.cells, plan.playbooks, ShardOptions(shards=1)).shards
    alone = [expected_seconds(cell, plan.playbooks[0].model.size_category) for cell in plan.cells]
    setup = shard.expected_seconds - sum(alone)
    one = planned(playbook_data("one"), tier="mvp")
    (shard,) = one.shards
    assert setup == pytest.approx(shard.expected_seconds - alone[0], abs=0.2)


def test_the_target_says_how_many_shards_there_are() -> None:
    total = sum(shard.expected_seconds for shard in packed(shards=1).shards)
    counts = [len(packed(target_minutes=total / 60 / part).shards) for part in (1, 2, 4)]
    assert counts[0] == 1
    assert counts == sorted(set(counts))
    assert len(packed(target_minutes=0.01).shards) == len(PLAN.cells)


def test_a_maximum_holds_whatever_the_target() -> None:
    assert len(packed(target_minutes=0.01, max_shards=5).shards) == 5
    assert len(packed(target_minutes=1e6, max_shards=5).shards) == 1


def test_more_shards_than_run_at_a_time_fill_the_last_round() -> None:
    cells = [cell for cell in PLAN.cells if cell.backend is Backend.GPU]
    total = packed(cells, shards=1, runners=(GPU,)).shards[0].expected_seconds
    target = total / 60 / 3.9
    found = packed(cells, target_minutes=target, runners=(GPU,)).shards
    assert len(found) == 6
    single = replace(GPU, max_parallel=1)
    assert len(packed(cells, target_minutes=target, runners=(single,)).shards) == 4


def test_shards_say_what_they_run_on_and_for_how_long() -> None:
    shards = packed(runners=(CPU, GPU)).shards
    assert {(shard.runner, shard.runs_on) for shard in shards} == {
        ("cpu", "ubuntu-latest"),
        ("gpu", ("self-hosted", "gpu")),
    }
    backend = {cell.id: str(cell.backend) for cell in PLAN.cells}
    assert all(backend[name] == shard.runner for shard in shards for name in shard.cells)
    assert all(shard.timeout_minutes for shard in shards)
    assert [shard.id for shard in shards] == [f"s{n + 1:03d}" for n in range(len(shards))]
    (here,) = packed(shards=1).shards
    assert (here.runner, here.runs_on, here.timeout_minutes) == (None, None, None)


def test_a_number_of_shards_is_shared_out_by_work() -> None:
    shards = packed(shards=6, runners=(CPU, GPU)).shards
    assert len(shards) == 6
    counts = Counter(shard.runner for shard in shards)
    assert counts["cpu"] > counts["gpu"] >= 1


def test_no_pool_gets_more_shards_than_it_has_cells() -> None:
    shards = packed(shards=1000, runners=(CPU, GPU)).shards
    assert max(Counter(shard.runner for shard in shards).values()) <= len(PLAN.cells)
    assert len(shards) <= len(PLAN.cells)


def test_less_than_one_shard_for_each_class_is_a_mistake() -> None:
    with pytest.raises(InputError, match=r"1 shards are too few: .* \(cpu, gpu\)"):
        packed(shards=1, runners=(CPU, GPU))


@pytest.mark.parametrize(
    "options", [{"shards": 0}, {"max_shards": 0}, {"target_minutes": 0.0}], ids=str
)
def test_no_shards_and_no_time_are_mistakes(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"at least one shard, not 0|0 minutes is no target"):
        packed(**options)


def test_all_mistakes_are_named() -> None:
    with pytest.raises(InputError) as caught:
        packed(shards=-1, max_shards=0, target_minutes=-3.0)
    assert len(caught.value.problems) == 3


def test_timings_of_the_class_decide() -> None:
    cells = [cell for cell in PLAN.cells if cell.backend is Backend.CPU]
    slow = cells[0].id
    shards = packed(cells, shards=2, runners=(CPU,), timings={(slow, "cpu"): 1e5}).shards
    assert shards[0].cells == (slow,)
    assert shards[0].expected_seconds == pytest.approx(1e5, rel=0.01)
    elsewhere = packed(cells, shards=2, runners=(CPU,), timings={(slow, "gpu"): 1e5}).shards
    assert elsewhere == packed(cells, shards=2, runners=(CPU,)).shards


def test_what_is_in_no_shard_is_named() -> None:
    found = packed(runners=default_runners())
    names = {name for shard in found.shards for name in shard.cells}
    out = {each.cell for each in found.unplaced}
    assert names | out == {cell.id for cell in PLAN.cells}
    assert not names & out
    assert {cell.id for cell in PLAN.cells if cell.backend is Backend.GPU} <= out


def test_nothing_that_fits_is_a_plan_without_shards() -> None:
    gpu = [cell for cell in PLAN.cells if cell.backend is Backend.GPU]
    found = packed(gpu, runners=default_runners(), shards=1)
    assert found.shards == ()
    assert len(found.unplaced) == len(gpu)


def test_the_time_limit_has_bounds() -> None:
    facts = packing_facts().timeout
    assert timeout_minutes(0, CPU) == facts.least_minutes
    assert timeout_minutes(1e9, CPU) == facts.most_minutes_hosted == 360
    assert timeout_minutes(1e9, GPU) == facts.most_minutes_self_hosted == 5 * 24 * 60
    usual = timeout_minutes(1800, CPU)
    assert usual == 30 * facts.factor + facts.extra_minutes
    assert timeout_minutes(1801, CPU) == usual + 1


CORPUS = Path(os.environ.get("APRQA_CORPUS", Path(__file__).parents[4] / "shared" / "corpus"))


def pools_of(shards: tuple[PlannedShard, ...]) -> dict[str | None, list[PlannedShard]]:
    return {
        name: [shard for shard in shards if shard.runner == name]
        for name in {shard.runner for shard in shards}
    }


@pytest.mark.parametrize("most", [256, 120, 40])
def test_the_corpus_is_packed_within_five_percent(most: int) -> None:
    folder = CORPUS / "playbooks" / "models"
    if not folder.is_dir():
        pytest.skip(f"no playbooks in {folder}; set APRQA_CORPUS to a checkout of the corpus")
    runners = (*default_runners(), replace(CPU, name="big", cost_per_minute=1.0, speed=8.0), GPU)
    plan = expand(
        load_playbooks([folder]),
        options=PlanOptions(tier="mvp", shards=None, max_shards=most, runners=runners),
        tool_version="0",
        root=ROOT,
    )
    by_name = {playbook.name: playbook for playbook in plan.playbooks}
    cells = {cell.id: cell for cell in plan.cells}
    classes = {runner.name: runner for runner in runners}
    assert len(plan.shards) <= most
    for name, shards in pools_of(plan.shards).items():
        own = [cells[cell] for shard in shards for cell in shard.cells]
        pool = subject._pool(classes[str(name)], own, by_name, {})
        least = lower_bound(pool.items, pool.setup, len(shards))
        assert max(shard.expected_seconds for shard in shards) <= 1.05 * least + 0.1


def test_a_shard_knows_the_limit_of_its_class() -> None:
    limits = {shard.runner: shard.max_parallel for shard in packed(runners=(CPU, GPU)).shards}
    assert limits == {"cpu": 20, "gpu": 3}
    assert {shard.max_parallel for shard in packed(shards=2).shards} == {None}


@settings(max_examples=20)
@given(st.integers(1, 12), st.booleans(), st.sampled_from([(), default_runners(), (CPU, GPU)]))
def test_evidence_names_the_same_plan_however_it_is_packed(
    number: int,
    fork: bool,
    runners: tuple[RunnerClass, ...],
) -> None:
    found = packed(shards=number + 1, runners=runners, fork=fork and bool(runners))
    plan = replace(PLAN, shards=found.shards, unplaced=found.unplaced, deferred=found.deferred)
    assert digest_for_playbook(plan, "tiny") == digest_for_playbook(PLAN, "tiny")
    alone = plan.for_playbook("tiny")
    for kept, all_of_them in ((alone.unplaced, found.unplaced), (alone.deferred, found.deferred)):
        assert kept == tuple(each for each in all_of_them if each.cell.startswith("tiny:"))
    assert replace(alone, unplaced=(), deferred=()) == PLAN.for_playbook("tiny")
