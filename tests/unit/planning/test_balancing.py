import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.planning import balancing
from aprqa_ci.planning.balancing import Item, balance, seconds_of

SETUP = {"a": 2.0, "b": 7.0, "c": 0.0}


def item(name: str, seconds: float) -> Item:
    """An item whose group is the first letter of its name."""
    return Item(name=name, seconds=seconds, group=name[0])


bins = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 50)), max_size=6),
    min_size=1,
    max_size=6,
).map(
    lambda drawn: [
        [item(f"{group}{number}-{index}", seconds) for index, (group, seconds) in enumerate(each)]
        for number, each in enumerate(drawn)
    ]
)


def longest(packed: list[list[Item]], setup: dict[str, float]) -> float:
    return max(seconds_of(each, setup) for each in packed)


def test_a_bin_takes_each_setup_once() -> None:
    assert seconds_of([item("a1", 1), item("a2", 2), item("b1", 4)], SETUP) == 1 + 2 + 4 + 2 + 7
    assert seconds_of([], SETUP) == 0


@given(bins)
def test_nothing_is_lost_and_the_longest_never_grows(packed: list[list[Item]]) -> None:
    after = balance(packed, SETUP, limit=0.0)
    names = sorted(each.name for members in packed for each in members)
    assert sorted(each.name for members in after for each in members) == names
    assert longest(after, SETUP) <= longest(packed, SETUP) + 1e-6


@given(bins)
def test_no_single_move_to_the_shortest_would_help_any_more(packed: list[list[Item]]) -> None:
    after = balance(packed, SETUP, limit=0.0)
    most = longest(after, SETUP)
    long = max(after, key=lambda each: seconds_of(each, SETUP))
    short = min(after, key=lambda each: seconds_of(each, SETUP))
    for each in long:
        rest = [other for other in long if other is not each]
        assert max(seconds_of(rest, SETUP), seconds_of([*short, each], SETUP)) >= most - 1e-5


@given(bins)
def test_nothing_moves_below_the_limit(packed: list[list[Item]]) -> None:
    after = balance(packed, SETUP, limit=longest(packed, SETUP))
    assert [sorted(each.name for each in members) for members in after] == [
        sorted(each.name for each in members) for members in packed
    ]


def test_a_whole_group_moves_rather_than_a_part() -> None:
    packed = [[item("a1", 5), item("a2", 5), item("c1", 10)], []]
    after = balance(packed, {"a": 0.0, "c": 0.0}, limit=10.0)
    assert sorted(sorted(each.name for each in members) for members in after) == [
        ["a1", "a2"],
        ["c1"],
    ]


def test_bins_change_what_neither_could_give_away() -> None:
    packed = [[item("a1", 6), item("b1", 6)], [item("c1", 5), item("c2", 4)]]
    after = balance(packed, {"a": 0.0, "b": 0.0, "c": 0.0}, limit=0.0)
    assert longest(after, {"a": 0.0, "b": 0.0, "c": 0.0}) == 11


def test_a_setup_is_counted_where_it_comes_and_goes() -> None:
    # Moving a2 away leaves the setup of a where it is and brings another.
    packed = [[item("a1", 5), item("a2", 5)], [item("b1", 6)]]
    assert balance(packed, {"a": 6.0, "b": 0.0}, limit=0.0) == packed
    # In place of b1 it is no more than that, and the setup of b moves.
    packed = [[item("a1", 5), item("b2", 5)], [item("a2", 1)]]
    after = balance(packed, {"a": 6.0, "b": 1.0}, limit=0.0)
    assert (
        sorted(sorted(each.name for each in members) for members in after)
        == [
            ["a1"],
            ["a2", "b2"],
        ]
        or longest(after, {"a": 6.0, "b": 1.0}) == 12
    )


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = [[item(f"a{number:03d}", 1.0) for number in range(200)], [], []]
    assert max(map(len, balance(packed, {"a": 0.0}, limit=0.0))) == 67
    monkeypatch.setattr(balancing, "_MOST_TRIED", 1)
    assert max(map(len, balance(packed, {"a": 0.0}, limit=0.0))) == 199
