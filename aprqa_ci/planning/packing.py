"""Packing items into bins: longest first, model by model, and no model split that need not be.

The greedy rule of longest processing time first is at most 4/3 - 1/(3m) of the best possible for m
bins (R. L. Graham, "Bounds on multiprocessing timing anomalies", 1969). Here an item also belongs
to a group, the files of one model, which every bin that has an item of it must fetch. So whole
groups are packed first; what that leaves uneven is mended by changing places, and only where that
is not enough are groups cut.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from heapq import heapify, heapreplace

from aprqa_ci.planning.balancing import Item, Setup, balance, seconds_of

__all__ = ["lower_bound", "pack_items"]


def lower_bound(items: Sequence[Item], setup: Setup, bins: int) -> float:
    """Return what the longest bin takes at least: an even share, or the longest single item."""
    longest = max((item.seconds + setup[item.group] for item in items), default=0.0)
    return max(seconds_of(items, setup) / bins, longest)


def pack_items(
    items: Sequence[Item], setup: Setup, *, bins: int, slack: float
) -> list[tuple[Item, ...]]:
    """Pack every item into one of at most ``bins`` bins. Pure and deterministic.

    The longest bin takes at most ``slack`` more than the lower bound, or no more than the longest
    of plain longest-first packing.

    Args:
        items: with distinct names, in any order: the result is the same.
        setup: what each group costs a bin.
        bins: at least one.
        slack: how much longer than the lower bound the longest bin may be for groups to stay
            together, as a share.

    Returns:
        The bins that are used, the longest first; the items in the order of their names.
    """
    ordered = sorted(items, key=lambda item: item.name)
    limit = lower_bound(ordered, setup, bins) * (1 + slack)
    best: Sequence[Sequence[Item]] = []
    share = seconds_of(ordered, setup) / bins * (1 + slack)
    for pieces in _coarse_to_fine(ordered, setup, share=share, limit=limit):
        packed = balance(_longest_first(pieces, setup, bins), setup, limit=limit)
        if not best or _longest(packed, setup) < _longest(best, setup):
            best = packed
        if _longest(best, setup) <= limit:
            break
    used = [tuple(sorted(each, key=lambda item: item.name)) for each in best if each]
    return sorted(used, key=lambda each: (-round(seconds_of(each, setup), 6), each[0].name))


def _longest(packed: Sequence[Sequence[Item]], setup: Setup) -> float:
    return max((seconds_of(each, setup) for each in packed), default=0.0)


def _coarse_to_fine(
    items: Sequence[Item], setup: Setup, *, share: float, limit: float
) -> Iterator[list[list[Item]]]:
    """Give the items in groups of at most a bin's share, then one by one.

    A bin is to work on a group at least as long as it takes to set it up, where it has the room.
    """
    groups: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        groups[item.group].append(item)
    most = {name: min(max(share - cost, cost), limit - cost) for name, cost in setup.items()}
    yield [piece for name, group in groups.items() for piece in _pieces(group, most=most[name])]
    yield [[item] for item in items]


def _pieces(group: Sequence[Item], *, most: float) -> list[list[Item]]:
    """Cut a group wherever the next item would be too much; a small group stays whole."""
    pieces: list[list[Item]] = [[]]
    room = most
    for item in group:
        if pieces[-1] and item.seconds > room:
            pieces.append([])
            room = most
        pieces[-1].append(item)
        room -= item.seconds
    return pieces


def _longest_first(pieces: Sequence[Sequence[Item]], setup: Setup, bins: int) -> list[list[Item]]:
    """Give each piece, the longest first, to the bin that is least loaded."""
    members: list[list[Item]] = [[] for _ in range(bins)]
    heap = [(0.0, index) for index in range(bins)]
    heapify(heap)
    for piece in sorted(pieces, key=lambda each: (-seconds_of(each, setup), each[0].name)):
        load, index = heap[0]
        members[index].extend(piece)
        heapreplace(heap, (load + seconds_of(piece, setup), index))
    return members
