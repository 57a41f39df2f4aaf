"""Merging what shards recorded, with proof that nothing is missing.

The plan says which shards there are. Of each, the newest attempt counts; a shard that the plan does
not know, or that ran another plan, is refused; what is absent is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.journal import ModelDigests
from aprqa_ci.evidence.reading import parse_evidence
from aprqa_ci.evidence.record import EvidenceHost, EvidenceRecord, MetadataKey
from aprqa_ci.files import path_below, read_bounded, sha256_bytes
from aprqa_ci.planning.plan import Plan, plan_digest
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


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The evidence of all shards."""

    records: Mapping[str, tuple[EvidenceRecord, ...]]
    """By playbook, in plan order."""
    model_digests: ModelDigests
    missing_shards: tuple[str, ...]
    missing_scenarios: tuple[str, ...]
    superseded: tuple[str, ...]
    """Older attempts that were left out, as ``shard a1``."""


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
            holds records that are not its own.
    """
    problems = _foreign(shards, plan)
    newest: dict[str, ShardEvidence] = {}
    superseded = []
    for shard in sorted(shards, key=lambda each: (each.manifest.shard, each.manifest.attempt)):
        manifest = shard.manifest
        earlier = newest.get(manifest.shard)
        if earlier is not None:
            if earlier.manifest.attempt == manifest.attempt:
                what = (
                    f"shard {manifest.shard} attempt {manifest.attempt} is given twice; the other "
                    f"is in {earlier.directory}"
                )
                problems.append(Problem(what=what, path=shard.directory))
            superseded.append(f"{manifest.shard} a{earlier.manifest.attempt}")
        newest[manifest.shard] = shard
    if problems:
        raise InputError(problems)
    by_scenario = {
        record.metadata.get(MetadataKey.SCENARIO, ""): record
        for shard in newest.values()
        for record in shard.records
    }
    records: dict[str, tuple[EvidenceRecord, ...]] = {}
    missing = []
    for playbook in plan.playbooks:
        ids = [each.id for cell in plan.cells_of(playbook.name) for each in cell.scenarios]
        records[playbook.name] = tuple(by_scenario[each] for each in ids if each in by_scenario)
        missing += [each for each in ids if each not in by_scenario]
    return Merged(
        records=records,
        model_digests=_digests(list(newest.values())),
        missing_shards=tuple(each.id for each in plan.shards if each.id not in newest),
        missing_scenarios=tuple(missing),
        superseded=tuple(superseded),
    )


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
        scenario = record.metadata.get(MetadataKey.SCENARIO, "")
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
