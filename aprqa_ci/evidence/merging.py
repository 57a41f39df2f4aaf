"""Merging what shards recorded, with proof that nothing is missing.

The plan says which shards there are. Of each, the newest complete attempt counts; a shard that the
plan does not know, or that ran another plan, is refused; what is absent is named. What the other
attempts say is not thrown away: of a scenario whose attempts ended in different ways, the records
of all of them are evidence.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.journal import ModelDigests
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord, MetadataKey
from aprqa_ci.files import path_below, read_bounded, sha256_bytes
from aprqa_ci.planning.plan import Plan, plan_digest
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import MAX_WIRE_BYTES, WireModel, read_wire

__all__ = [
    "EVIDENCE_NAME",
    "MANIFEST_NAME",
    "Merged",
    "ShardEvidence",
    "ShardManifest",
    "merge",
    "read_shard",
]

MANIFEST_NAME = "manifest.json"
EVIDENCE_NAME = "evidence.json"


class ShardManifest(WireModel, frozen=True, kw_only=True):
    """What a shard says of itself, beside its evidence."""

    schema: Literal["aprqa-shard/1"] = "aprqa-shard/1"
    plan_digest: str
    """Of the whole plan, shards included."""
    shard: str
    attempt: int
    started: str
    """RFC 3339, UTC."""
    finished: str
    host: EvidenceHost
    runner: str | None = None
    """The runner class that the plan has for the shard; absent when it was planned for none."""
    exit: int
    """0 when every scenario of the shard has a record."""
    files: dict[str, str]
    """SHA-256 of each file of the shard by name."""
    model_digests: ModelDigests


@dataclass(frozen=True, kw_only=True)
class ShardEvidence:
    """One shard's manifest and records."""

    directory: Path
    manifest: ShardManifest
    records: tuple[EvidenceRecord, ...]

    @property
    def name(self) -> str:
        """The shard and its attempt, as ``s001 a1``."""
        return f"{self.manifest.shard} a{self.manifest.attempt}"

    @property
    def rank(self) -> tuple[bool, int]:
        """Grows with what the attempt is worth: complete before not, then newer before older."""
        return self.manifest.exit == 0, self.manifest.attempt


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


def read_shard(directory: Path) -> ShardEvidence:
    """Read one shard's directory and check its files against its manifest.

    Raises:
        InputError: something is missing, unreadable, or not what the manifest says.
    """
    manifest = read_wire(directory / MANIFEST_NAME, ShardManifest)
    problems = []
    contents = {}
    for name, digest in manifest.files.items():
        path = path_below(directory, name)
        contents[name] = read_bounded(path, MAX_WIRE_BYTES)
        found = sha256_bytes(contents[name])
        if found != digest:
            what = f"the file is not the one that the manifest names (SHA-256 {found[:12]}…)"
            problems.append(Problem(what=what, path=path, hint="upload the shard's files again"))
    if EVIDENCE_NAME not in contents:
        what = f"the manifest names no {EVIDENCE_NAME}"
        problems.append(Problem(what=what, path=directory / MANIFEST_NAME))
    if problems:
        raise InputError(problems)
    records = parse_evidence(contents[EVIDENCE_NAME], source=directory / EVIDENCE_NAME)
    return ShardEvidence(directory=directory, manifest=manifest, records=records)


def merge(shards: Sequence[ShardEvidence], plan: Plan) -> Merged:
    """Merge shards of one plan. Pure.

    Raises:
        InputError: a shard is of another plan, unknown, given twice with one attempt number, or
            holds records that are not its own; attempts that count tested different model files.
    """
    problems = [*_foreign(shards, plan), *_given_twice(shards)]
    if problems:
        raise InputError(problems)
    attempts: defaultdict[str, list[ShardEvidence]] = defaultdict(list)
    for shard in shards:
        attempts[shard.manifest.shard].append(shard)
    counting = {name: max(each, key=lambda one: one.rank) for name, each in attempts.items()}
    others = sorted(
        (each for each in shards if each is not counting[each.manifest.shard]),
        key=lambda each: (each.manifest.shard, each.manifest.attempt),
    )
    digests = _digests([counting[name] for name in sorted(counting)])
    by_scenario = {
        _scenario(record): record for shard in counting.values() for record in shard.records
    }
    playbooks = {each.id: cell.playbook for cell in plan.cells for each in cell.scenarios}
    disagreeing = _disagreeing(by_scenario, others, digests, playbooks)
    records: dict[str, tuple[EvidenceRecord, ...]] = {}
    kept: dict[str, tuple[EvidenceRecord, ...]] = {}
    missing = []
    for playbook in plan.playbooks:
        ids = [each.id for cell in plan.cells_of(playbook.name) for each in cell.scenarios]
        records[playbook.name] = tuple(by_scenario[each] for each in ids if each in by_scenario)
        kept[playbook.name] = tuple(record for each in ids for record in disagreeing.get(each, ()))
        missing += [each for each in ids if each not in by_scenario]
    return Merged(
        records=records,
        disagreeing=kept,
        model_digests=digests,
        missing_shards=tuple(each.id for each in plan.shards if each.id not in counting),
        missing_scenarios=tuple(missing),
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


def _scenario(record: EvidenceRecord) -> str:
    return record.metadata.get(MetadataKey.SCENARIO, "")


def _given_twice(shards: Iterable[ShardEvidence]) -> list[Problem]:
    first: dict[str, ShardEvidence] = {}
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
    counting: Mapping[str, EvidenceRecord],
    others: Sequence[ShardEvidence],
    digests: ModelDigests,
    playbooks: Mapping[str, str],
) -> dict[str, list[EvidenceRecord]]:
    """Return what other attempts say of scenarios that ended in different ways, by scenario.

    A skip is no end. What is of other model files is of another model, and left out.
    """
    ends: defaultdict[str, list[EvidenceRecord]] = defaultdict(list)
    for shard in others:
        strange = _other_files(shard, digests)
        for record in shard.records:
            name = _scenario(record)
            if record.outcome is not Outcome.SKIPPED and playbooks[name] not in strange:
                ends[name].append(record)
    return {
        scenario: records
        for scenario, records in ends.items()
        if len(_outcomes([*records, *_one(counting.get(scenario))])) > 1
    }


def _one(record: EvidenceRecord | None) -> tuple[EvidenceRecord, ...]:
    return () if record is None else (record,)


def _outcomes(records: Iterable[EvidenceRecord]) -> set[Outcome]:
    return {record.outcome for record in records} - {Outcome.SKIPPED}


def _other_files(shard: ShardEvidence, digests: ModelDigests) -> set[str]:
    """Return the playbooks of which the shard tested other files than the ones that count."""
    return {
        playbook
        for playbook, variants in shard.manifest.model_digests.items()
        for variant, files in variants.items()
        if digests.get(playbook, {}).get(variant, files) != files
    }


def _foreign(shards: Sequence[ShardEvidence], plan: Plan) -> list[Problem]:
    digest = plan_digest(plan)
    scenarios = {cell.id: {each.id for each in cell.scenarios} for cell in plan.cells}
    known = {
        shard.id: set[str]().union(*(scenarios[cell] for cell in shard.cells))
        for shard in plan.shards
    }
    problems = []
    for shard in shards:
        manifest = shard.manifest
        if manifest.plan_digest != digest:
            what = f"shard {manifest.shard} ran another plan ({manifest.plan_digest[:12]}…)"
            problems.append(
                Problem(what=what, path=shard.directory, hint="run the shard again with this plan")
            )
            continue
        if manifest.shard not in known:
            what = f"the plan has no shard {manifest.shard!r}"
            problems.append(Problem(what=what, path=shard.directory))
            continue
        problems += _foreign_records(shard, known[manifest.shard])
    return problems


def _foreign_records(shard: ShardEvidence, scenarios: set[str]) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for record in shard.records:
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


def _digests(shards: Sequence[ShardEvidence]) -> ModelDigests:
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
