from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.planning.balancing import Item, seconds_of
from aprqa_ci.planning.packing import lower_bound, pack_items

NO_SETUP = {"a": 0.0, "b": 0.0, "c": 0.0}
SETUP = {"a": 3.0, "b": 0.5, "c": 10.0}


def items(*lengths: float, group: str = "a") -> list[Item]:
    return [
        Item(name=f"{group}{number:04d}", seconds=length, group=group)
        for number, length in enumerate(lengths)
    ]


def longest(packed: list[tuple[Item, ...]], setup: dict[str, float]) -> float:
    return max(seconds_of(each, setup) for each in packed)


def fetches(packed: list[tuple[Item, ...]]) -> int:
    return sum(len({item.group for item in each}) for each in packed)


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


@st.composite
def some_items(draw: st.DrawFn, most: int = 60) -> list[Item]:
    found = draw(
        st.lists(st.tuples(st.floats(0.1, 1000), st.sampled_from("abc")), min_size=1, max_size=most)
    )
    return [
        Item(name=f"i{number:03d}", seconds=seconds, group=group)
        for number, (seconds, group) in enumerate(found)
    ]


@given(some_items(), st.integers(1, 20))
def test_every_item_is_in_one_bin_and_no_bin_is_empty(found: list[Item], bins: int) -> None:
    packed = pack_items(found, SETUP, bins=bins, slack=0.05)
    assert Counter(item for each in packed for item in each) == Counter(found)
    assert all(packed)
    assert 1 <= len(packed) <= bins


@given(some_items(), st.integers(1, 20))
def test_no_bin_can_be_shorter_than_the_lower_bound_says(found: list[Item], bins: int) -> None:
    packed = pack_items(found, SETUP, bins=bins, slack=0.0)
    assert longest(packed, SETUP) >= lower_bound(found, SETUP, bins) - 1e-6


@given(some_items(), st.integers(1, 20))
def test_the_longest_is_near_the_lower_bound(found: list[Item], bins: int) -> None:
    # Longest first ends, at the latest, one item above the even share; setups come on top.
    packed = pack_items(found, NO_SETUP, bins=bins, slack=0.05)
    least = lower_bound(found, NO_SETUP, bins)
    most = seconds_of(found, NO_SETUP) / bins + max(item.seconds for item in found)
    assert longest(packed, NO_SETUP) <= max(1.05 * least, most) + 1e-6


@given(st.lists(st.floats(1, 10), min_size=400, max_size=500), st.integers(1, 10), st.floats(0, 20))
@settings(max_examples=25)
def test_many_items_are_within_five_percent(lengths: list[float], bins: int, setup: float) -> None:
    found = [
        Item(name=f"i{number:03d}", seconds=length, group="abc"[number % 3])
        for number, length in enumerate(lengths)
    ]
    costs = dict.fromkeys("abc", setup)
    packed = pack_items(found, costs, bins=bins, slack=0.05)
    # Each of the bins may need each of the groups; that is not the packing's to mend.
    least = lower_bound(found, costs, bins) + (0 if bins <= 3 else 3 * setup)
    assert longest(packed, costs) <= 1.05 * least + 10


@settings(max_examples=60)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(1, 4))
def test_the_longest_is_within_grahams_bound(lengths: list[int], bins: int) -> None:
    packed = pack_items(items(*map(float, lengths)), NO_SETUP, bins=bins, slack=0.0)
    best = least_possible([float(length) for length in lengths], bins)
    assert longest(packed, NO_SETUP) <= (4 / 3 - 1 / (3 * bins)) * best + 1e-9


@given(some_items(), st.integers(1, 20))
def test_the_longest_is_within_the_slack_or_no_longer_than_longest_first(
    found: list[Item], bins: int
) -> None:
    limit = 1.05 * lower_bound(found, SETUP, bins)
    packed = pack_items(found, SETUP, bins=bins, slack=0.05)
    loads = [0.0] * bins
    members: list[list[Item]] = [[] for _ in loads]
    for item in sorted(found, key=lambda each: (-each.seconds - SETUP[each.group], each.name)):
        index = loads.index(min(loads))
        loads[index] += item.seconds + SETUP[item.group]
        members[index].append(item)
    plain = max(seconds_of(each, SETUP) for each in members)
    assert longest(packed, SETUP) <= max(limit, plain) + 1e-5


def test_cells_are_packed_one_by_one_where_whole_groups_stay_uneven() -> None:
    random = Random(458)
    setup = {f"g{number}": random.uniform(0, 20) for number in range(5)}
    found = [
        Item(
            name=f"i{number:02d}",
            seconds=random.choice([random.uniform(1, 10), random.uniform(50, 100)]),
            group=f"g{random.randrange(5)}",
        )
        for number in range(30)
    ]
    packed = pack_items(found, setup, bins=6, slack=0.05)
    assert longest(packed, setup) / lower_bound(found, setup, 6) < 1.05


@given(some_items(most=25), st.integers(1, 6), st.randoms(use_true_random=False))
def test_the_order_of_the_items_does_not_matter(
    found: list[Item], bins: int, random: object
) -> None:
    packed = pack_items(found, SETUP, bins=bins, slack=0.05)
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a Random
    assert pack_items(shuffled, SETUP, bins=bins, slack=0.05) == packed


def test_the_longest_bin_comes_first() -> None:
    packed = pack_items(items(1, 2, 3, 9), NO_SETUP, bins=3, slack=0.0)
    loads = [seconds_of(each, NO_SETUP) for each in packed]
    assert loads == sorted(loads, reverse=True)


def test_groups_stay_together_where_balance_allows() -> None:
    found = items(5, 5, group="a") + items(5, 5, group="b") + items(5, 5, group="c")
    packed = pack_items(found, SETUP, bins=3, slack=0.5)
    assert fetches(packed) == 3


def test_a_group_longer_than_a_bin_is_cut_and_no_other() -> None:
    found = items(*[10] * 8, group="a") + items(10, group="b") + items(10, group="c")
    packed = pack_items(found, NO_SETUP, bins=5, slack=0.0)
    assert longest(packed, NO_SETUP) == 20
    groups = [{item.group for item in each} for each in packed]
    assert sum("a" in each for each in groups) <= 5
    assert fetches(packed) <= 6


def test_a_setup_that_outweighs_the_work_keeps_a_group_in_one_bin() -> None:
    packed = pack_items(items(1, 1, 1, 1), {"a": 100.0}, bins=4, slack=0.05)
    assert fetches(packed) == 1


def test_even_bins_are_preferred_to_whole_groups_beyond_the_slack() -> None:
    found = items(6, 6, 6, group="a") + items(6, group="b")
    assert longest(pack_items(found, NO_SETUP, bins=2, slack=0.0), NO_SETUP) == 12
    assert longest(pack_items(found, NO_SETUP, bins=2, slack=0.5), NO_SETUP) == 18


@pytest.mark.parametrize("bins", [1, 3])
def test_nothing_is_packed_into_nothing(bins: int) -> None:
    assert pack_items([], {}, bins=bins, slack=0.05) == []
