"""Which shards the evidence of a playbook was merged of: the link between manifests and evidence.

A shard's evidence file is gone once it is merged: its records stand among those of other shards, in
plan order. What still can be held against the shard's manifest is what it says of each cell.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal

from aprqa_ci.evidence.merging import Attempts
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.evidence.shards import ShardManifest
from aprqa_ci.planning.plan_file import AnyPlan
from aprqa_ci.wire import WireModel, digest_of

__all__ = [
    "SHARDS_NAME",
    "SHARDS_SCHEMA",
    "MergedShard",
    "ShardList",
    "cell_digests",
    "shard_lists",
]

SHARDS_NAME = "shards.json"
SHARDS_SCHEMA = "aprqa-shards/1"


class MergedShard(WireModel, frozen=True, kw_only=True):
    """One attempt at a shard."""

    counts: bool
    """Whether it is the attempt whose records were taken; of another there are those records alone
    whose scenario did not end in one way."""
    manifest: ShardManifest


class ShardList(WireModel, frozen=True, kw_only=True):
    """The shards that evidence was merged of."""

    schema: Literal["aprqa-shards/1"] = "aprqa-shards/1"
    plan_digest: str
    """Of the whole plan, shards included."""
    shards: tuple[MergedShard, ...]
    """By shard and attempt."""


def cell_digests(records: Iterable[EvidenceRecord]) -> dict[str, str]:
    """Return the SHA-256 over the records of each cell, whatever their order. Pure.

    Returns:
        By cell and attempt, as ``tiny:run-cpu-gguf-q8_0 a1``: the digest of the sorted digests of
        the records.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for record in records:
        cell = record.meta(MetadataKey.CELL) or ""
        found[f"{cell} a{record.meta(MetadataKey.ATTEMPT) or '1'}"].append(digest_of(record))
    return {name: digest_of(sorted(digests)) for name, digests in sorted(found.items())}


def shard_lists(attempts: Attempts, plan: AnyPlan) -> Mapping[str, ShardList]:
    """Return the shards that the evidence of each playbook is merged of, by playbook. Pure.

    Args:
        attempts: all attempts at the shards, and which of them count.
        plan: their plan.
    """
    playbook_of = plan.playbook_of_cells()
    playbooks = {
        shard.id: {playbook_of[cell] for cell in shard.cells if cell in playbook_of}
        for shard in plan.shards
    }
    digest = plan.digest()
    counting = {each.name for each in attempts.counting.values()}
    ordered = sorted(
        (*attempts.counting.values(), *attempts.others),
        key=lambda each: (each.manifest.shard, each.manifest.attempt),
    )
    lists = {}
    for entry in plan.playbooks:
        lists[entry.name] = ShardList(
            plan_digest=digest,
            shards=tuple(
                MergedShard(counts=each.name in counting, manifest=each.manifest)
                for each in ordered
                if entry.name in playbooks[each.manifest.shard]
            ),
        )
    return lists
