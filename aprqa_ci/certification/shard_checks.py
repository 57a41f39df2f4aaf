"""Whether the records of a bundle are those that the manifests of its shards name. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.evidence.shard_list import MergedShard, ShardList, cell_digests
from aprqa_ci.planning.plan import Plan

__all__ = ["shard_faults", "without_digests"]


def shard_faults(
    listed: ShardList,
    plan: Plan,
    records: Sequence[EvidenceRecord],
    model_files: Mapping[str, Mapping[str, str]],
) -> Iterator[str]:
    """Yield what does not hold between shards and evidence, a sentence each.

    Args:
        listed: the shards.
        plan: of the one playbook.
        records: the evidence.
        model_files: SHA-256 by file name, by variant, as the certificate has it.
    """
    playbook = plan.playbooks[0]
    gates = {gate.scenario for gate in playbook.own_gates}
    # What the playbook's own gates come to is concluded by the merge.
    found = cell_digests(
        record for record in records if record.meta(MetadataKey.SCENARIO) not in gates
    )
    cells = {cell.id for cell in plan.cells}
    named: set[str] = set()
    for each in listed.shards:
        manifest = each.manifest
        if manifest.plan_digest != listed.plan_digest:
            yield f"shard {_name(each)} ran another plan than the others"
        own = {
            name: digest
            for name, digest in manifest.records.items()
            if name.rpartition(" ")[0] in cells
        }
        named |= own.keys()
        if not each.counts:
            continue
        for name, digest in own.items():
            if found.get(name) != digest:
                yield f"the records of {name} are not those that shard {_name(each)} made"
        files = manifest.model_digests.get(playbook.name, {})
        if any(model_files.get(variant) != digests for variant, digests in files.items()):
            yield f"shard {_name(each)} tested other model files than the certificate names"
    if not any(without_digests(listed)):
        for name in sorted(found.keys() - named):
            yield f"the records of {name} are of no shard"
    yield from _miscounted(listed.shards)


def without_digests(listed: ShardList) -> tuple[str, ...]:
    """Return the shards whose manifest names no records, as earlier versions wrote them."""
    return tuple(_name(each) for each in listed.shards if not each.manifest.records)


def _miscounted(shards: Sequence[MergedShard]) -> Iterator[str]:
    """Yield the shards of which another attempt should count: the newest complete one does."""
    for shard in sorted({each.manifest.shard for each in shards}):
        attempts = [each for each in shards if each.manifest.shard == shard]
        best = max(attempts, key=lambda each: (each.manifest.exit == 0, each.manifest.attempt))
        if [each for each in attempts if each.counts] != [best]:
            yield f"of shard {shard}, the attempt that counts is not {_name(best)} alone"


def _name(shard: MergedShard) -> str:
    return f"{shard.manifest.shard} a{shard.manifest.attempt}"
