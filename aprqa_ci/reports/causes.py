"""Root causes: the failures of a run, sorted by what they have in common.

A model that cannot be loaded fails everywhere, and a hundred failures of one cause are one thing to
mend. Nothing is concluded that the records do not say: a cause that the catalogue describes is
recognised by its words, and all others are held apart by gate and wording alone.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.files import sha256_bytes
from aprqa_ci.plain_text import one_line, shorten, strip_ansi
from aprqa_ci.reports.run_report import ReportedScenario
from aprqa_ci.vocabulary import Gateway, Outcome
from aprqa_ci.wire import WireModel

__all__ = ["GatewayAdvice", "KnownCause", "RootCause", "gateway_advice", "root_causes"]

_MOST_TEXT = 4000
"""Characters of a reason, and of the end of a log, that are looked at."""
_SIGNATURE = 160
_TITLE = 100
_ANSWERS = frozenset({"wrong", "empty", "garbage"})
# What differs between two failures of one cause: quoted names, paths, numbers and digests.
_INDIVIDUAL = re.compile(
    r"""'[^'\n]{0,200}'|"[^"\n]{0,200}"|`[^`\n]{0,200}`|\S*/\S*|\b[0-9a-f]{8,}\b"""
    r"""|[A-Za-z_]*\d[\w.]*|\d+"""
)


class GatewayAdvice(WireModel, frozen=True, kw_only=True):
    """What a failed gateway usually comes from."""

    likely: tuple[str, ...]
    next: str


class KnownCause(WireModel, frozen=True, kw_only=True):
    """A cause that shows in the words of a record; see the comments of the data file."""

    id: str
    title: str
    phrases: tuple[str, ...]
    likely: str
    next: str


class _CauseFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-causes/1"]
    gateways: dict[Gateway, GatewayAdvice]
    causes: tuple[KnownCause, ...]


@dataclass(frozen=True, kw_only=True)
class RootCause:
    """Failures that have one cause, as far as their records tell."""

    id: str
    """The same for the same cause in every run: the known cause's id and the gate, or a digest."""
    title: str
    known: KnownCause | None
    """What the catalogue says of it, if it does."""
    failures: tuple[ReportedScenario, ...]
    """In plan order; at least one."""

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates that failed, each once."""
        return tuple(dict.fromkeys(each.score.gate_id for each in self.failures))

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells that it shows in, each once."""
        return tuple(dict.fromkeys(each.score.cell for each in self.failures))

    @property
    def gateway(self) -> Gateway | None:
        """The lowest gateway that it fails, if it fails one."""
        gateways = [each.score.gateway for each in self.failures if each.score.gateway]
        return min(gateways, default=None)


@cache
def _file() -> _CauseFile:
    return load_data("causes.yaml", _CauseFile)


def gateway_advice(gateway: Gateway) -> GatewayAdvice:
    """Return what a failure of the gateway usually comes from, and what to do next."""
    return _file().gateways[gateway]


def root_causes(scenarios: Sequence[ReportedScenario]) -> list[RootCause]:
    """Group the failures among ``scenarios`` by cause. Pure.

    Gateways come first, the lowest first of all, and then what has most failures. A gateway that
    was concluded from other records (G2, G3, G4) goes with the failure that it was concluded from
    where there is just one cause in its cell.
    """
    groups: dict[str, list[ReportedScenario]] = {}
    known: dict[str, KnownCause | None] = {}
    concluded: list[ReportedScenario] = []
    for scenario in scenarios:
        if not scenario.is_failure:
            continue
        gate = scenario.gate
        if gate is not None and gate.made_by == "derived":
            concluded.append(scenario)
            continue
        name, cause = _cause_of(scenario)
        groups.setdefault(name, []).append(scenario)
        known[name] = cause
    for scenario in concluded:
        of_its_cell = [
            name
            for name, group in groups.items()
            if any(each.score.cell == scenario.score.cell for each in group)
        ]
        if len(of_its_cell) == 1:
            groups[of_its_cell[0]].append(scenario)
        else:
            name, cause = _cause_of(scenario)
            groups.setdefault(name, []).append(scenario)
            known[name] = cause
    causes = [
        RootCause(
            id=name,
            title=_title(known[name], group[0]),
            known=known[name],
            failures=tuple(group),
        )
        for name, group in groups.items()
    ]
    return sorted(causes, key=_weight)


def _weight(cause: RootCause) -> tuple[str, int, str]:
    # No gateway comes after G4.
    return cause.gateway or "G9", -len(cause.failures), cause.id


def _cause_of(scenario: ReportedScenario) -> tuple[str, KnownCause | None]:
    gate_id, outcome = scenario.score.gate_id, scenario.score.outcome
    record = scenario.record
    kind = None if record is None else record.meta(MetadataKey.KIND)
    if record is not None and kind in _ANSWERS:
        # What was expected, and how a broken model got it wrong, is different every time; that it
        # answers and is wrong, as one oracle finds it, is what they have in common.
        signature = f"{kind}:{record.scenario.oracle_type}"
    else:
        lowered = _words(scenario).casefold()
        for cause in _file().causes:
            by_outcome = cause.id == "timeout" and outcome is Outcome.TIMEOUT
            if by_outcome or any(phrase in lowered for phrase in cause.phrases):
                return cause.id, cause
        signature = _INDIVIDUAL.sub("#", scenario.score.reason)[:_SIGNATURE]
    digest = sha256_bytes(f"{gate_id}\0{outcome}\0{signature}".encode())
    return f"{gate_id.lower()}-{digest[:8]}", None


def _words(scenario: ReportedScenario) -> str:
    """Return what the record says of the failure; never what the model answered."""
    record = scenario.record
    if record is None:
        return scenario.score.reason
    log = strip_ansi((record.stderr or "")[-_MOST_TEXT:])
    return f"{record.reason[:_MOST_TEXT]}\n{log}"


def _title(known: KnownCause | None, first: ReportedScenario) -> str:
    if known is not None:
        return known.title
    return shorten(f"{first.score.gate_id}: {one_line(first.score.reason)}", _TITLE)
