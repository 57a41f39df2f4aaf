"""The plan as a file: one JSON object, with each cell on a line of its own.

A plan of a hundred models is large. Written in this way it is read a cell at a time by those who
need but a part of it, and by everybody else as the JSON that it is. Plans that are written in
another way, as those in bundles are, are read as a whole.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn, Protocol

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import open_input, write_pieces
from aprqa_ci.planning.plan import (
    PlacedOut,
    Plan,
    PlannedCell,
    PlannedPlaybook,
    PlannedShard,
    digest_in_parts,
)
from aprqa_ci.wire import MAX_WIRE_BYTES, decode_wire, pretty_json, read_wire

__all__ = ["AnyPlan", "PlanFile", "open_plan", "read_plan", "write_plan"]

_CELLS: Final = b'  "cells": [\n'
_CELL: Final = b"    {"
_END: Final = b"  ]\n"
_AFTER: Final = b"}\n"
_NO_CELLS: Final = b'  "cells": []\n}\n'


class AnyPlan(Protocol):
    """A plan, in memory or in a file; :class:`Plan` says what is what."""

    @property
    def playbooks(self) -> tuple[PlannedPlaybook, ...]:
        """All playbooks."""

    @property
    def shards(self) -> tuple[PlannedShard, ...]:
        """How the cells are packed."""

    @property
    def unplaced(self) -> tuple[PlacedOut, ...]:
        """Cells that no runner class has room for."""

    @property
    def deferred(self) -> tuple[PlacedOut, ...]:
        """Cells that another run will take."""

    def cells_of(self, playbook: str) -> tuple[PlannedCell, ...]:
        """Return the cells of the playbook with that name, in plan order."""

    def cells_named(self, ids: Iterable[str]) -> tuple[PlannedCell, ...]:
        """Return the cells that have one of the ids, in plan order."""

    def playbook_of_cells(self) -> Mapping[str, str]:
        """Return the playbook of each cell, by the cell's id."""

    def for_playbook(self, playbook: str) -> Plan:
        """Return the plan of one playbook alone, without shards."""

    def digest(self) -> str:
        """Return what shards name the plan by."""


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan in one step, each cell on a line of its own.

    Raises:
        OSError: the directory cannot be written. An old file is then untouched.
    """
    write_pieces(path, _pieces(plan))


def _pieces(plan: Plan) -> Iterator[bytes]:
    rest = msgspec.structs.asdict(plan)
    # Last, so that whoever reads the cells knows the rest.
    del rest["cells"]
    data = pretty_json({**rest, "cells": ()})
    if not plan.cells:
        yield data
        return
    yield data.removesuffix(_NO_CELLS) + _CELLS
    encoder, last = msgspec.json.Encoder(), len(plan.cells) - 1
    for number, cell in enumerate(plan.cells):
        end = b",\n" if number < last else b"\n"
        yield b"    " + encoder.encode(cell) + end
    yield _END + _AFTER


def open_plan(path: Path) -> AnyPlan:
    """Return a plan whose cells stay in the file until they are asked for.

    All of the file is read and checked once. A plan that is not written a cell a line is read into
    memory.

    Raises:
        InputError: the file is missing, unreadable or not a plan.
    """
    rest = _rest_of(path)
    return read_wire(path, Plan) if rest is None else PlanFile(path, rest)


def read_plan(path: Path) -> Plan:
    """Read a plan into memory, however it is written.

    Raises:
        InputError: the file is missing, unreadable or not a plan.
    """
    rest = _rest_of(path)
    if rest is None:
        return read_wire(path, Plan)
    return msgspec.structs.replace(rest.plan, cells=tuple(cell for cell, _ in _cells(path, rest)))


@dataclass(frozen=True, kw_only=True)
class _Rest:
    """What stands before the cells."""

    plan: Plan
    """The plan without its cells."""
    size: int
    """How many bytes it takes."""
    lines: int


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where in the file a cell is."""

    number: int
    """Its place among the cells."""
    start: int
    size: int
    digest: bytes


class PlanFile:
    """A plan that stays in its file: in memory is where each cell is, and all else."""

    def __init__(self, path: Path, rest: _Rest) -> None:
        """Read and check all cells once.

        Raises:
            InputError: the file is unreadable or not a plan.
        """
        self._path = path
        self._rest = rest.plan
        self._playbook_of: dict[str, str] = {}
        self._places: defaultdict[str, list[_Place]] = defaultdict(list)
        self._ids_of: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._held: tuple[str, tuple[PlannedCell, ...]] | None = None
        self._digest = digest_in_parts(rest.plan, self._noted(_cells(path, rest)))

    def _noted(self, cells: Iterable[tuple[PlannedCell, _Place]]) -> Iterator[PlannedCell]:
        for cell, place in cells:
            self._playbook_of[cell.id] = cell.playbook
            self._places[cell.id].append(place)
            self._ids_of[cell.playbook][cell.id] = None
            yield cell

    @property
    def playbooks(self) -> tuple[PlannedPlaybook, ...]:
        """As in :class:`Plan`."""
        return self._rest.playbooks

    @property
    def shards(self) -> tuple[PlannedShard, ...]:
        """As in :class:`Plan`."""
        return self._rest.shards

    @property
    def unplaced(self) -> tuple[PlacedOut, ...]:
        """As in :class:`Plan`."""
        return self._rest.unplaced

    @property
    def deferred(self) -> tuple[PlacedOut, ...]:
        """As in :class:`Plan`."""
        return self._rest.deferred

    def cells_of(self, playbook: str) -> tuple[PlannedCell, ...]:
        """Return the cells of the playbook with that name, in plan order.

        Raises:
            InputError: the file is no longer what it was.
        """
        if self._held is None or self._held[0] != playbook:
            cells = self.cells_named(self._ids_of.get(playbook, ()))
            own = tuple(cell for cell in cells if cell.playbook == playbook)
            self._held = playbook, own
        return self._held[1]

    def cells_named(self, ids: Iterable[str]) -> tuple[PlannedCell, ...]:
        """Return those of the plan's cells that have one of the ids, in plan order.

        Raises:
            InputError: the file is no longer what it was.
        """
        places = [place for name in set(ids) for place in self._places.get(name, ())]
        places.sort(key=lambda place: place.number)
        decoder, cells = msgspec.json.Decoder(PlannedCell), []
        with open_input(self._path) as stream:
            for place in places:
                stream.seek(place.start)
                data = stream.read(place.size)
                if sha256(data).digest() != place.digest:
                    what = "the plan was changed while it was read"
                    raise InputError(Problem(what=what, path=self._path))
                cells.append(decoder.decode(data))
        return tuple(cells)

    def playbook_of_cells(self) -> Mapping[str, str]:
        """Return the playbook of each cell, by the cell's id."""
        return self._playbook_of

    def for_playbook(self, playbook: str) -> Plan:
        """Return the plan of one playbook alone, without shards; see :class:`Plan`.

        Raises:
            InputError: the file is no longer what it was.
        """
        own = msgspec.structs.replace(self._rest, cells=self.cells_of(playbook))
        return own.for_playbook(playbook)

    def digest(self) -> str:
        """Return what shards name the plan by."""
        return self._digest


def _rest_of(path: Path) -> _Rest | None:
    """Return what stands before the cells; nothing where they are not on lines of their own."""
    head: list[bytes] = []
    size = 0
    with open_input(path) as stream:
        while size <= MAX_WIRE_BYTES and (line := stream.readline(MAX_WIRE_BYTES)):
            size += len(line)
            if line == _CELLS:
                if not stream.read(len(_CELL) + 1).startswith(_CELL + b'"'):
                    return None
                plan = decode_wire(b"".join([*head, _NO_CELLS]), Plan, source=path)
                return _Rest(plan=plan, size=size, lines=len(head) + 1)
            head.append(line)
    return None


def _cells(path: Path, rest: _Rest) -> Iterator[tuple[PlannedCell, _Place]]:
    decoder = msgspec.json.Decoder(PlannedCell)
    start, number = rest.size, 0
    with open_input(path) as stream:
        stream.seek(start)
        more = True
        while more:
            line = stream.readline(MAX_WIRE_BYTES)
            more = line.endswith(b",\n")
            data = line.removesuffix(b"\n").removesuffix(b",")
            at = rest.lines + number + 1
            try:
                cell = decoder.decode(data)
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                _refuse(f"not a cell of a plan: {error}", path, at)
            digest = sha256(data).digest()
            yield cell, _Place(number=number, start=start, size=len(data), digest=digest)
            start, number = start + len(line), number + 1
        if stream.read(len(_END + _AFTER) + 1) != _END + _AFTER:
            _refuse("the plan does not end after its cells", path, rest.lines + number + 1)


def _refuse(what: str, path: Path, line: int) -> NoReturn:
    raise InputError(Problem(what=what, path=path, line=line))
