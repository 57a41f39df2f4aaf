"""Merging what shards recorded, with proof that nothing is missing.

The plan says which shards there are. Of each, the newest complete attempt counts; a shard that the
plan does not know, or that ran another plan, is refused; what is absent is named. What the other
attempts say is not thrown away: of a scenario whose attempts ended in different ways, the records
of all of them are evidence.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.journal import ModelDigests
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.evidence.shards import (
    EVIDENCE_NAME,
    MANIFEST_NAME,
    ShardEvidence,
    ShardFiles,
    ShardManifest,
    read_shard,
)
from aprqa_ci.planning.identifiers import cell_of
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.plan_file import AnyPlan
from aprqa_ci.vocabulary import Outcome

__all__ = [
    "EVIDENCE_NAME",
    "MANIFEST_NAME",
    "Attempts",
    "Merged",
    "MergedPlaybook",
    "ShardEvidence",
    "ShardFiles",
    "ShardManifest",
    "merge",
    "merge_playbooks",
    "read_shard",
    "settle",
]


@dataclass(frozen=True, kw_only=True)
class MergedPlaybook:
    """The evidence of one playbook, of all shards."""

    name: str
    records: tuple[EvidenceRecord, ...]
    """In plan order: of each scenario what the attempt that counts says."""
    disagreeing: tuple[EvidenceRecord, ...]
    """In plan order and by attempt: what other attempts say of scenarios that did not end in one
    way in all of them. It is evidence too; a policy says what it means."""
    missing: tuple[str, ...]
    """Planned scenarios without a record."""


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """Which attempts there are, which of them count, and what is to be said of the others."""

    counting: Mapping[str, ShardFiles]
    """By shard."""
    others: tuple[ShardFiles, ...]
    """Those that do not count, by shard and attempt."""
    model_digests: ModelDigests
    missing_shards: tuple[str, ...]
    superseded: tuple[str, ...]
    """Attempts that do not count, for a better one is there, as ``s001 a1``."""
    unfinished: tuple[str, ...]
    """Attempts that count and did not come to their end, with their exit code."""
    incomparable: tuple[str, ...]
    """Attempts that tested other model files than those that count, so that nothing follows from
    a difference, with the playbook."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The evidence of all shards."""

    records: Mapping[str, tuple[EvidenceRecord, ...]]
    """By playbook, in plan order: of each scenario what the attempt that counts says."""
    disagreeing: Mapping[str, tuple[EvidenceRecord, ...]]
    """By playbook, in plan order and by attempt: what other attempts say of scenarios that did not
    end in one way in all of them. It is evidence too; a policy says what it means."""
    model_digests: ModelDigests
    missing_shards: tuple[str, ...]
    missing_scenarios: tuple[str, ...]
    superseded: tuple[str, ...]
    """Attempts that do not count, for a better one is there, as ``s001 a1``."""
    unfinished: tuple[str, ...]
    """Attempts that count and did not come to their end, with their exit code."""
    incomparable: tuple[str, ...]
    """Attempts that tested other model files than those that count, so that nothing follows from
    a difference, with the playbook."""


def merge(shards: Sequence[ShardEvidence], plan: Plan) -> Merged:
    """Merge shards of one plan that are all in memory. Pure.

    Raises:
        InputError: a shard is of another plan, unknown, given twice with one attempt number, or
            holds records that are not its own; attempts that count tested different model files.
    """
    by_name = {shard.name: shard for shard in shards}
    attempts = settle(shards, plan, lambda each: by_name[each.name].records)
    merged = list(merge_playbooks(attempts, plan, lambda each: by_name[each.name].records))
    return Merged(
        records={each.name: each.records for each in merged},
        disagreeing={each.name: each.disagreeing for each in merged},
        model_digests=attempts.model_digests,
        missing_shards=attempts.missing_shards,
        missing_scenarios=tuple(name for each in merged for name in each.missing),
        superseded=attempts.superseded,
        unfinished=attempts.unfinished,
        incomparable=attempts.incomparable,
    )


MOST_HELD = 10_000
"""Records take about five kilobytes each."""

_SCENARIO = MetadataKey.SCENARIO.value

Load = Callable[[ShardFiles], Sequence[EvidenceRecord]]
"""Returns the records of a shard."""

CheckEach = Callable[
    [Callable[[ShardFiles], list[Problem]], Sequence[ShardFiles]], Iterable[list[Problem]]
]
"""Does what ``map`` does, in the same order."""


def settle(
    shards: Sequence[ShardFiles], plan: AnyPlan, load: Load, *, check_each: CheckEach = map
) -> Attempts:
    """Check every shard against the plan, and settle which attempts count.

    Args:
        shards: all attempts.
        plan: what they ran.
        load: returns a shard's records; called once for each, and nothing of it is kept.
        check_each: what checks the shards; they have nothing to do with one another.

    Raises:
        InputError: as in :func:`merge`, and what ``load`` raises.
    """
    foreign = _ForeignCheck(plan, load)
    problems = [problem for found in check_each(foreign, shards) for problem in found]
    problems += _given_twice(shards)
    if problems:
        raise InputError(problems)
    of_shard: defaultdict[str, list[ShardFiles]] = defaultdict(list)
    for shard in shards:
        of_shard[shard.manifest.shard].append(shard)
    counting = {name: max(each, key=lambda one: one.rank) for name, each in of_shard.items()}
    others = sorted(
        (each for each in shards if each is not counting[each.manifest.shard]),
        key=lambda each: (each.manifest.shard, each.manifest.attempt),
    )
    digests = _digests([counting[name] for name in sorted(counting)])
    return Attempts(
        counting=counting,
        others=tuple(others),
        model_digests=digests,
        missing_shards=tuple(each.id for each in plan.shards if each.id not in counting),
        superseded=tuple(each.name for each in others),
        unfinished=tuple(
            f"{counting[name].name} (exit {counting[name].manifest.exit})"
            for name in sorted(counting)
            if counting[name].manifest.exit
        ),
        incomparable=tuple(
            f"{each.name} ({playbook})"
            for each in others
            for playbook in sorted(_other_files(each, digests))
        ),
    )


def merge_playbooks(
    attempts: Attempts,
    plan: AnyPlan,
    load: Load,
    *,
    names: Collection[str] | None = None,
    most_held: int = MOST_HELD,
) -> Iterator[MergedPlaybook]:
    """Merge one playbook after the other, in plan order.

    A shard's records are asked for when the first of its playbooks is merged, and let go after the
    last: what is in memory at once is what the playbooks that share shards have. Where that is too
    much, shards are let go before, and asked for again.

    Args:
        attempts: as :func:`settle` made them of the same plan.
        plan: what they ran.
        load: returns a shard's records.
        names: the playbooks that are merged; absent, all.
        most_held: how many records are kept for playbooks that come later, at most.

    Raises:
        InputError: what ``load`` raises.
    """
    wanted = {entry.name for entry in plan.playbooks if names is None or entry.name in names}
    playbook_of = {cell: name for cell, name in plan.playbook_of_cells().items() if name in wanted}
    needed: defaultdict[str, dict[str, None]] = defaultdict(dict)
    last: dict[str, str] = {}
    order = {entry.name: number for number, entry in enumerate(plan.playbooks)}
    for shard in plan.shards:
        own = {playbook_of[cell] for cell in shard.cells if cell in playbook_of}
        for playbook in sorted(own, key=order.__getitem__):
            needed[playbook][shard.id] = None
            last[shard.id] = playbook
    held: dict[str, dict[str, list[EvidenceRecord]]] = {}
    for entry in plan.playbooks:
        if entry.name not in wanted:
            continue
        ids = [each.id for cell in plan.cells_of(entry.name) for each in cell.scenarios]
        by_scenario: dict[str, EvidenceRecord] = {}
        witnesses: list[tuple[ShardFiles, Sequence[EvidenceRecord]]] = []
        for shard_id in needed[entry.name]:
            first = attempts.counting.get(shard_id)
            others = [each for each in attempts.others if each.manifest.shard == shard_id]
            for attempt in ([first] if first is not None else []) + others:
                if attempt.name not in held:
                    held[attempt.name] = _by_playbook(load(attempt), playbook_of, wanted)
                records = held[attempt.name].pop(entry.name, [])
                if last[shard_id] == entry.name:
                    del held[attempt.name]
                if attempt is first:
                    by_scenario |= {_scenario(record): record for record in records}
                else:
                    witnesses.append((attempt, records))
        wanted.remove(entry.name)
        _let_go(held, most_held)
        disagreeing = _disagreeing(entry.name, by_scenario, witnesses, attempts.model_digests)
        yield MergedPlaybook(
            name=entry.name,
            records=tuple(by_scenario[each] for each in ids if each in by_scenario),
            disagreeing=tuple(record for each in ids for record in disagreeing.get(each, ())),
            missing=tuple(each for each in ids if each not in by_scenario),
        )


def _let_go(held: dict[str, dict[str, list[EvidenceRecord]]], most: int) -> None:
    """Let shards go, the oldest first, until no more records than that are held."""
    count = sum(len(records) for each in held.values() for records in each.values())
    for name in list(held):
        if count <= most:
            return
        count -= sum(map(len, held.pop(name).values()))


def _by_playbook(
    records: Iterable[EvidenceRecord], playbook_of: Mapping[str, str], wanted: Collection[str]
) -> dict[str, list[EvidenceRecord]]:
    sorted_out: defaultdict[str, list[EvidenceRecord]] = defaultdict(list)
    for record in records:
        playbook = playbook_of.get(cell_of(_scenario(record)))
        if playbook is not None and playbook in wanted:
            sorted_out[playbook].append(record)
    return sorted_out


def _scenario(record: EvidenceRecord) -> str:
    return record.metadata.get(_SCENARIO, "")


def _given_twice(shards: Iterable[ShardFiles]) -> list[Problem]:
    first: dict[str, ShardFiles] = {}
    problems = []
    for shard in shards:
        if shard.name in first:
            what = (
                f"shard {shard.manifest.shard} attempt {shard.manifest.attempt} is given twice; "
                f"the other is in {first[shard.name].directory}"
            )
            problems.append(Problem(what=what, path=shard.directory))
        first.setdefault(shard.name, shard)
    return problems


def _disagreeing(
    playbook: str,
    counting: Mapping[str, EvidenceRecord],
    others: Iterable[tuple[ShardFiles, Sequence[EvidenceRecord]]],
    digests: ModelDigests,
) -> dict[str, list[EvidenceRecord]]:
    """Return what other attempts say of scenarios that ended in different ways, by scenario.

    A skip is no end. What is of other model files is of another model, and left out.
    """
    ends: defaultdict[str, list[EvidenceRecord]] = defaultdict(list)
    for shard, records in others:
        if playbook in _other_files(shard, digests):
            continue
        for record in records:
            if record.outcome is not Outcome.SKIPPED:
                ends[_scenario(record)].append(record)
    return {
        scenario: records
        for scenario, records in ends.items()
        if len(_outcomes([*records, *_one(counting.get(scenario))])) > 1
    }


def _one(record: EvidenceRecord | None) -> tuple[EvidenceRecord, ...]:
    return () if record is None else (record,)


def _outcomes(records: Iterable[EvidenceRecord]) -> set[Outcome]:
    return {record.outcome for record in records} - {Outcome.SKIPPED}


def _other_files(shard: ShardFiles, digests: ModelDigests) -> set[str]:
    """Return the playbooks of which the shard tested other files than the ones that count."""
    return {
        playbook
        for playbook, variants in shard.manifest.model_digests.items()
        for variant, files in variants.items()
        if digests.get(playbook, {}).get(variant, files) != files
    }


class _ForeignCheck:
    """Finds what is wrong with a shard by itself, in this process or in another."""

    def __init__(self, plan: AnyPlan, load: Load) -> None:
        self._load = load
        self._digest = plan.digest()
        self._plan = plan
        self._known = {shard.id: shard for shard in plan.shards}

    def __call__(self, shard: ShardFiles) -> list[Problem]:
        manifest = shard.manifest
        if manifest.plan_digest != self._digest:
            what = f"shard {manifest.shard} ran another plan ({manifest.plan_digest[:12]}…)"
            hint = "run the shard again with this plan"
            return [Problem(what=what, path=shard.directory, hint=hint)]
        if manifest.shard not in self._known:
            what = f"the plan has no shard {manifest.shard!r}"
            return [Problem(what=what, path=shard.directory)]
        own = self._plan.cells_named(self._known[manifest.shard].cells)
        scenarios = {each.id for cell in own for each in cell.scenarios}
        try:
            return _foreign_records(shard, self._load(shard), scenarios)
        except InputError as error:
            return list(error.problems)


def _foreign_records(
    shard: ShardFiles, records: Sequence[EvidenceRecord], scenarios: set[str]
) -> list[Problem]:
    names = [record.metadata.get(_SCENARIO) for record in records]
    if len(set(names)) == len(names) and scenarios.issuperset(names):
        return []
    seen: set[str] = set()
    problems = []
    for record in records:
        scenario = _scenario(record)
        what = ""
        if scenario not in scenarios:
            what = f"record {record.id} is of no scenario of shard {shard.manifest.shard}"
        elif scenario in seen:
            what = f"scenario {scenario} is recorded twice"
        seen.add(scenario)
        if what:
            problems.append(Problem(what=what, path=shard.directory / EVIDENCE_NAME))
    return problems


def _digests(shards: Sequence[ShardFiles]) -> ModelDigests:
    """Join the digests of model files; two shards that saw different files are refused."""
    joined: ModelDigests = {}
    problems = []
    for shard in shards:
        for playbook, variants in shard.manifest.model_digests.items():
            for variant, digests in variants.items():
                known = joined.setdefault(playbook, {}).setdefault(variant, digests)
                if known != digests:
                    what = f"{playbook} {variant}: shards tested different model files"
                    hint = "pin model.revision and run again"
                    problems.append(Problem(what=what, path=shard.directory, hint=hint))
    if problems:
        raise InputError(problems)
    return joined
