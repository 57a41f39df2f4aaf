"""Making bins even: items change places while that shortens the longest bin."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest

__all__ = ["Item", "Setup", "balance", "seconds_of"]

_MOST_TRIED = 100_000
"""Changes that are looked at, at most: about a second."""
_PARTNERS = 64
"""So many of the shortest bins are looked at; what the longer ones could take, these can."""
_LEAST_GAIN = 1e-6
"""Seconds; less than that is the noise of adding in another order."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that is done in one piece."""

    name: str
    seconds: float
    group: str
    """What it shares a setup with."""


Setup = Mapping[str, float]
"""The seconds that each group costs a bin once."""

_Items = tuple[Item, ...]
"""Some items of one group."""


def seconds_of(items: Iterable[Item], setup: Setup) -> float:
    """Return what a bin of these items takes: the items, and the setup of each group once."""
    items = list(items)
    groups = dict.fromkeys(item.group for item in items)
    return sum(item.seconds for item in items) + sum(setup[group] for group in groups)


def balance(packed: Sequence[Sequence[Item]], setup: Setup, *, limit: float) -> list[list[Item]]:
    """Let the longest bin give to, or change with, short ones until no bin is above the limit.

    What changes places is all that a bin has of a group, or one item where that does not help. The
    longest bin never becomes longer, and no bin becomes empty. Pure and deterministic; the work is
    bounded, so the limit may not be reached, even where it could be.
    """
    bins = [_Bin(setup, index) for index, _ in enumerate(packed)]
    for each, members in zip(bins, packed, strict=True):
        each.add(members)
    search = _Search()
    while search.tried < _MOST_TRIED:
        longest = max(bins, key=lambda each: (each.load, -each.index), default=None)
        if longest is None or longest.load <= limit + _LEAST_GAIN:
            break
        change = search.best(longest, bins)
        if change is None:
            break
        longest.remove(change.given)
        change.partner.remove(change.taken)
        longest.add(change.taken)
        change.partner.add(change.given)
    return [each.items() for each in bins]


@dataclass(kw_only=True, slots=True)
class _Change:
    partner: "_Bin"
    given: _Items
    taken: _Items


class _Search:
    """Looks for changes that shorten the longest bin, those that cut no group first."""

    def __init__(self) -> None:
        self.tried = 0

    def best(self, longest: "_Bin", bins: Sequence["_Bin"]) -> _Change | None:
        shortest = nsmallest(_PARTNERS, bins, key=lambda each: (each.load, each.index))
        partners = [each for each in shortest if each is not longest]
        for cut, mutual in ((False, False), (False, True), (True, False), (True, True)):
            change = self._best_of(longest, partners, cut=cut, mutual=mutual)
            if change is not None:
                return change
        return None

    def _best_of(
        self, longest: "_Bin", partners: Sequence["_Bin"], *, cut: bool, mutual: bool
    ) -> _Change | None:
        least = longest.load - _LEAST_GAIN
        found = None
        offered = longest.parts(cut=cut)
        for partner in partners:
            wanted = partner.parts(cut=cut) if mutual else [()]
            self.tried += len(offered) * len(wanted)
            for given in offered:
                for taken in wanted:
                    load = partner.load_with(given, taken)
                    if (
                        load < least
                        and (load := max(load, longest.load_with(taken, given))) < least
                    ):
                        # What is not clearly better loses, or noise would decide.
                        least = load - _LEAST_GAIN
                        found = _Change(partner=partner, given=given, taken=taken)
        return found


@dataclass(slots=True)
class _Bin:
    setup: Setup
    index: int
    groups: dict[str, dict[str, Item]] = field(default_factory=dict)
    """By group, then by name."""
    load: float = 0.0

    def add(self, items: Iterable[Item]) -> None:
        for item in items:
            if item.group not in self.groups:
                self.groups[item.group] = {}
                self.load += self.setup[item.group]
            self.groups[item.group][item.name] = item
            self.load += item.seconds

    def remove(self, items: Iterable[Item]) -> None:
        for item in items:
            del self.groups[item.group][item.name]
            self.load -= item.seconds
            if not self.groups[item.group]:
                del self.groups[item.group]
                self.load -= self.setup[item.group]

    def load_with(self, more: _Items, less: _Items) -> float:
        """Return the load after ``less`` has gone and ``more`` has come; both of one group each."""
        load = self.load
        gone = None
        if less:
            load -= sum(item.seconds for item in less)
            if len(less) == len(self.groups[less[0].group]):
                gone = less[0].group
                load -= self.setup[gone]
        if more:
            group = more[0].group
            load += sum(item.seconds for item in more)
            if group not in self.groups or group == gone:
                load += self.setup[group]
        return load

    def parts(self, *, cut: bool) -> list[_Items]:
        """Return what can change places: groups, or also single items of them."""
        wholes = [tuple(group.values()) for group in self.groups.values()]
        if not cut:
            return wholes
        return wholes + [(item,) for whole in wholes if len(whole) > 1 for item in whole]

    def items(self) -> list[Item]:
        return [item for group in self.groups.values() for item in group.values()]
