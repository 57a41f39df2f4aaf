from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aprqa_ci.certification.shard_checks import shard_faults, without_digests
from aprqa_ci.evidence.merging import ShardEvidence, merge, settle
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.evidence.shard_list import MergedShard, ShardList, cell_digests, shard_lists
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Outcome
from tests.playbooks import planned, playbook_data
from tests.records import made_shard

FILES = {"safetensors": {"model.safetensors": "a" * 64}}


@pytest.fixture(scope="module")
def plan() -> Plan:
    data = playbook_data(model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0"]})
    return planned(data, tier="mvp", shards=2)


def shard(plan: Plan, name: str, **options: Any) -> ShardEvidence:
    """A shard's evidence whose manifest names its records."""
    made = made_shard(plan, name, **options)
    manifest = replace(made.manifest, records=cell_digests(made.records))
    return ShardEvidence(directory=made.directory, manifest=manifest, records=made.records)


def merged(plan: Plan, *shards: ShardEvidence) -> tuple[ShardList, list[EvidenceRecord]]:
    result = merge(shards, plan)
    made = {each.name: each.records for each in shards}
    listed = shard_lists(settle(shards, plan, lambda each: made[each.name]), plan)["tiny"]
    return listed, [*result.records["tiny"], *result.disagreeing["tiny"]]


def faults(
    plan: Plan, listed: ShardList, records: list[EvidenceRecord], files: Any = None
) -> list[str]:
    return list(shard_faults(listed, plan.for_playbook("tiny"), records, files or FILES))


def test_what_was_merged_holds(plan: Plan) -> None:
    listed, records = merged(plan, shard(plan, "s001"), shard(plan, "s002"))
    assert faults(plan, listed, records) == []
    assert faults(plan, listed, records[::-1]) == []
    assert without_digests(listed) == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda all_: [replace(all_[0], reason="x"), *all_[1:]],
        lambda all_: all_[1:],
        lambda all_: [*all_, all_[0]],
        lambda all_: [replace(all_[0], timestamp="2026-01-02T12:00:00.000001Z"), *all_[1:]],
    ],
)
def test_one_changed_record_is_seen_and_its_shard_named(
    plan: Plan, change: Callable[[list[EvidenceRecord]], list[EvidenceRecord]]
) -> None:
    listed, records = merged(plan, shard(plan, "s001"), shard(plan, "s002"))
    (fault,) = faults(plan, listed, change(records))
    assert fault.startswith(f"the records of {records[0].metadata['cell']} a1 are not those that")


def test_records_that_no_shard_made_are_seen(plan: Plan) -> None:
    listed, records = merged(plan, shard(plan, "s001"), shard(plan, "s002"))
    strange = replace(records[0], metadata=records[0].metadata | {"attempt": "7"})
    (fault,) = faults(plan, listed, [*records, strange])
    assert fault == f"the records of {records[0].metadata['cell']} a7 are of no shard"
    left_out = replace(listed, shards=listed.shards[:1])
    assert any("are of no shard" in each for each in faults(plan, left_out, records))


def test_what_another_attempt_said_otherwise_may_stand_beside(plan: Plan) -> None:
    first = plan.cells[0].scenarios[0].id
    worse = {first: Outcome.FALSIFIED}
    shards = [shard(plan, "s001", attempt=n, outcomes=worse if n == 1 else {}) for n in (1, 2)]
    listed, records = merged(plan, *shards, shard(plan, "s002"))
    assert len({each.metadata["attempt"] for each in records}) == 2
    assert faults(plan, listed, records) == []
    swapped = tuple(
        MergedShard(counts=not each.counts, manifest=each.manifest)
        if each.manifest.shard == "s001"
        else each
        for each in listed.shards
    )
    found = faults(plan, replace(listed, shards=swapped), records)
    assert "of shard s001, the attempt that counts is not s001 a2 alone" in found


def test_shards_of_another_plan_or_of_other_files_are_seen(plan: Plan) -> None:
    listed, records = merged(plan, shard(plan, "s001"), shard(plan, "s002"))
    other = {"safetensors": {"model.safetensors": "b" * 64}}
    assert len(faults(plan, listed, records, other)) == 2
    assert "other model files" in faults(plan, listed, records, other)[0]
    assert "ran another plan" in faults(plan, replace(listed, plan_digest="x"), records)[0]


def test_manifests_of_earlier_versions_prove_less(plan: Plan) -> None:
    shards = (made_shard(plan, "s001"), shard(plan, "s002"))
    listed, records = merged(plan, *shards)
    assert without_digests(listed) == ("s001 a1",)
    assert faults(plan, listed, records) == []
    (fault,) = faults(plan, listed, records[:-1])
    assert "that shard s002 a1 made" in fault
