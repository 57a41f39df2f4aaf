from typing import Any

import msgspec
import pytest
from hypothesis import given

from aprqa_ci.planning.plan import PLAN_SCHEMA, PlacedOut, Plan, digest_for_playbook, plan_digest
from aprqa_ci.wire import decode_wire, digest_of, pretty_json
from tests.cells import cell_of, plan_of
from tests.playbooks import made_playbooks, planned, playbook_data

PLAN = planned(playbook_data("one"), playbook_data("two"), tier="quick", shards=2)


def test_a_plan_knows_its_playbooks() -> None:
    assert PLAN.schema == PLAN_SCHEMA
    assert PLAN.playbook_named("two").name == "two"
    assert [cell.id for cell in PLAN.cells_of("two")] == ["two:run-cpu-safetensors"]
    with pytest.raises(KeyError):
        PLAN.playbook_named("three")


def test_the_plan_of_one_playbook_does_not_depend_on_the_packing() -> None:
    packed = planned(playbook_data("one"), playbook_data("two"), tier="quick", shards=1)
    assert plan_digest(packed) != plan_digest(PLAN)
    for name in ("one", "two"):
        own = PLAN.for_playbook(name)
        assert own.shards == ()
        assert [playbook.name for playbook in own.playbooks] == [name]
        assert plan_digest(own) == plan_digest(packed.for_playbook(name))
    assert plan_digest(PLAN.for_playbook("one")) != plan_digest(PLAN.for_playbook("two"))


def test_what_is_in_no_shard_stays_named_and_changes_no_evidence() -> None:
    cells = {name: PLAN.cells_of(name)[0].id for name in ("one", "two")}
    out = {name: PlacedOut(cell=cell, reason="too large") for name, cell in cells.items()}
    plan = msgspec.structs.replace(PLAN, unplaced=tuple(out.values()), deferred=(out["two"],))
    assert (plan.for_playbook("one").unplaced, plan.for_playbook("one").deferred) == (
        (out["one"],),
        (),
    )
    assert plan.for_playbook("two").deferred == (out["two"],)
    for name in ("one", "two"):
        digest = digest_for_playbook(PLAN, name)
        assert digest_for_playbook(plan, name) == digest
        assert digest_for_playbook(plan.for_playbook(name), name) == digest
        assert plan_digest(PLAN.for_playbook(name)) == digest
    assert plan_digest(plan) != plan_digest(PLAN)


def test_any_change_of_what_is_tested_changes_the_digest() -> None:
    digests = {
        plan_digest(planned(data, tier=tier).for_playbook("tiny"))
        for data in (playbook_data(), playbook_data(test_matrix={"seed": 1}))
        for tier in ("quick", "smoke")
    }
    assert len(digests) == 4


def test_a_plan_is_the_same_after_it_was_on_disk() -> None:
    oracles = [{"type": "code_syntax", "config": {"languages": ["python"]}}]
    data = playbook_data(oracles=oracles, test_matrix={"prompts": ["def add(a, b):"]})
    plan = planned(data, tier="mvp")
    assert decode_wire(pretty_json(plan), Plan, source="plan.json") == plan


def test_a_plan_keeps_its_digest_when_the_models_grow() -> None:
    # Evidence names the digest of its plan. A field added to a model of the plan changes the digest
    # of plans that are on disk, and their certificates fall, unless it is left out where it is not
    # set: `new: int | UnsetType = UNSET`.
    plan = plan_of(cell_of(checks=["F-STAB-REPEAT-001"]))
    assert plan_digest(plan) == "ee1ffe7d43ea8e454ae12b25db7b1c6fcd1a15f7ef42e99d976ce9a7863aff0c"


@given(made_playbooks())
def test_the_digest_of_a_plan_is_that_of_its_canonical_json(playbook: dict[str, Any]) -> None:
    plan = planned(playbook)
    assert plan_digest(plan) == digest_of(plan)
    none = msgspec.structs.replace(plan, cells=())
    assert plan_digest(none) == digest_of(none)
