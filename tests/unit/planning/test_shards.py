from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.planning import shards as subject
from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.planning.shards import expected_seconds, pack
from aprqa_ci.vocabulary import SizeCategory
from tests.playbooks import planned, playbook_data

PLAN = planned(
    playbook_data(
        model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0", "q4_0"]},
        test_matrix={"modalities": ["run", "chat", "serve"], "backends": ["cpu", "gpu"]},
    ),
    playbook_data("large-one", model={"size_category": "large"}),
    tier="mvp",
)
CELLS = st.lists(st.sampled_from(PLAN.cells), min_size=1, unique_by=lambda cell: cell.id)


def seconds(cell: PlannedCell) -> float:
    return expected_seconds(cell, PLAN.playbook_named(cell.playbook).model.size_category)


def least_possible(durations: list[float], machines: int) -> float:
    """The length of the best schedule, found by trying all."""
    best = sum(durations)
    loads = [0.0] * machines

    def place(rest: list[float]) -> None:
        nonlocal best
        if max(loads) >= best:
            return
        if not rest:
            best = max(loads)
            return
        for index in range(machines):
            if loads[index] in loads[:index]:
                continue
            loads[index] += rest[0]
            place(rest[1:])
            loads[index] -= rest[0]

    place(sorted(durations, reverse=True))
    return best


@given(CELLS, st.integers(1, 30))
def test_every_cell_is_in_exactly_one_shard(cells: list[PlannedCell], number: int) -> None:
    packed = pack(cells, PLAN.playbooks, shards=number)
    assert len(packed) == min(number, len(cells))
    assert len({shard.id for shard in packed}) == len(packed)
    assert Counter(name for shard in packed for name in shard.cells) == Counter(
        cell.id for cell in cells
    )
    assert all(shard.cells for shard in packed)


@given(CELLS, st.integers(1, 30))
def test_a_shard_takes_what_its_cells_take(cells: list[PlannedCell], number: int) -> None:
    durations = {cell.id: seconds(cell) for cell in cells}
    for shard in pack(cells, PLAN.playbooks, shards=number):
        total = sum(durations[name] for name in shard.cells)
        assert shard.expected_seconds == pytest.approx(total, abs=0.06)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(1, 4))
def test_the_longest_shard_is_within_grahams_bound(lengths: list[int], machines: int) -> None:
    cells = PLAN.cells[: len(lengths)]
    durations = {cell.id: float(length) for cell, length in zip(cells, lengths, strict=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "expected_seconds", lambda cell, _: durations[cell.id])
        packed = pack(cells, PLAN.playbooks, shards=machines)
    longest = max(shard.expected_seconds for shard in packed)
    used = len(packed)
    best = least_possible([float(length) for length in lengths], used)
    assert longest <= (4 / 3 - 1 / (3 * used)) * best + 1e-9


@given(CELLS, st.integers(1, 5))
def test_packing_follows_plan_order_and_nothing_else(cells: list[PlannedCell], number: int) -> None:
    packed = pack(cells, PLAN.playbooks, shards=number)
    order = [cell.id for cell in cells]
    assert all(list(shard.cells) == sorted(shard.cells, key=order.index) for shard in packed)
    again = pack(cells[::-1], PLAN.playbooks, shards=number)
    assert [set(shard.cells) for shard in again] == [set(shard.cells) for shard in packed]


def test_every_cell_takes_time_and_a_larger_model_takes_more() -> None:
    cell = PLAN.cells[0]
    times = [expected_seconds(cell, size) for size in SizeCategory]
    assert times == sorted(set(times))
    assert times[0] > 0


def test_less_than_one_shard_is_a_mistake() -> None:
    with pytest.raises(InputError, match="at least one shard, not 0"):
        pack(PLAN.cells, PLAN.playbooks, shards=0)
