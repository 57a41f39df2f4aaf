from msgspec.structs import replace

from aprqa_ci.evidence.merging import settle
from aprqa_ci.evidence.shard_list import cell_digests, shard_lists
from tests.playbooks import planned, playbook_data
from tests.records import made_records, made_shard


def test_a_digest_is_of_the_records_of_a_cell_whatever_their_order() -> None:
    records = made_records(planned(playbook_data(), tier="mvp"))
    digests = cell_digests(records)
    assert digests == cell_digests(reversed(records))
    assert {name.rpartition(" ")[2] for name in digests} == {"a1"}
    changed = (replace(records[0], reason="another"), *records[1:])
    cell = f"{records[0].metadata['cell']} a1"
    assert {name for name, digest in cell_digests(changed).items() if digest != digests[name]} == {
        cell
    }
    assert cell_digests(records[1:])[cell] != digests[cell]
    assert cell_digests((*records, records[0]))[cell] != digests[cell]
    again = replace(records[0], metadata=records[0].metadata | {"attempt": "2"})
    assert set(cell_digests([again])) == {cell.replace("a1", "a2")}


def test_every_attempt_at_the_shards_of_a_playbook_is_listed() -> None:
    plan = planned(playbook_data("one"), playbook_data("two"), tier="quick", shards=2)
    shards = [
        made_shard(plan, shard.id, attempt=attempt, code=code)
        for shard in plan.shards
        for attempt, code in ((1, 0), (2, 3))
    ]
    records = {each.name: each.records for each in shards}
    lists = shard_lists(settle(shards, plan, lambda each: records[each.name]), plan)
    assert set(lists) == {"one", "two"}
    listed = [
        (each.manifest.shard, each.manifest.attempt, each.counts)
        for name in ("one", "two")
        for each in lists[name].shards
    ]
    assert sorted(listed) == [
        ("s001", 1, True),
        ("s001", 2, False),
        ("s002", 1, True),
        ("s002", 2, False),
    ]
