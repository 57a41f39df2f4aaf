"""What a certification took is what the next plan is packed by: through GitHub and back."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.steps import Surroundings, make_plan, merge_shards
from aprqa_ci.certification.timings import TIMINGS_NAME
from aprqa_ci.evidence.merging import EVIDENCE_NAME, MANIFEST_NAME
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.github.certification_pr import Proposed, deliver_proposal
from aprqa_ci.github.client import Client
from aprqa_ci.github.proposal import Base, Declined, Places, Proposal, propose
from aprqa_ci.github.settings import load_publishing
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.runner_classes import default_runners
from aprqa_ci.wire import pretty_json
from tests.github_double.fakehub import FakeHub
from tests.github_double.fixtures import Connect
from tests.playbooks import playbook_data
from tests.records import NOON, made_shard

CLASS = "ubuntu-latest"
# Seconds between two records of a cell, by modality: what the estimates could not have known.
PACE = {"run": 40, "chat": 10}


@pytest.fixture
def client(connected: Connect, registry: bytes) -> Client:
    assert registry
    return connected()


def make(
    root: Path, certifications: Path, *, modalities: tuple[str, ...] = ("run", "chat")
) -> Plan:
    """Plan as the plan job does, in a checkout."""
    playbook = root / "loop.playbook.yaml"
    data = playbook_data("loop", test_matrix={"modalities": list(modalities)})
    playbook.write_text(json.dumps(data))
    return make_plan(
        [playbook],
        options=PlanOptions(tier="mvp", shards=None, runners=default_runners()),
        surroundings=Surroundings(environment={}, home=root, root=root),
        certifications=certifications,
    )


def timed(record: EvidenceRecord, number: int, days: int) -> EvidenceRecord:
    pace = PACE[record.metadata[MetadataKey.CELL].partition(":")[2].partition("-")[0]]
    moment = NOON + timedelta(days=days, seconds=pace * number)
    return msgspec.structs.replace(record, timestamp=moment.isoformat())


def certify(plan: Plan, folder: Path, *, days: int = 0) -> Bundle:
    """Leave the artifacts of all shards, and merge them as the last job does."""
    places = []
    for shard in plan.shards:
        made = made_shard(plan, shard.id)
        numbers: dict[str, int] = {}
        records = []
        for record in made.records:
            cell = record.metadata[MetadataKey.CELL]
            numbers[cell] = numbers.get(cell, -1) + 1
            records.append(timed(record, numbers[cell], days))
        place = folder / shard.id
        digest = write_evidence(place / EVIDENCE_NAME, tuple(records))
        manifest = msgspec.structs.replace(made.manifest, files={EVIDENCE_NAME: digest})
        (place / MANIFEST_NAME).write_bytes(pretty_json(manifest))
        places.append(place)
    _, (bundle,) = merge_shards(places, plan, out=folder / "out")
    return bundle


def deliver(client: Client, bundle: Bundle) -> Proposed:
    def proposal(base: Base) -> Proposal | Declined:
        return propose(
            bundle,
            base,
            places=Places(),
            publishing=load_publishing(),
            verified=True,
            footer="run 1",
        )

    done = deliver_proposal(
        client,
        bundle,
        base_branch="main",
        places=Places(),
        attempts=2,
        propose=proposal,
    )
    assert isinstance(done, Proposed), done
    return done


def land(hub: FakeHub) -> None:
    """Merge the certification, as a person does who presses the button."""
    branch = "aprqa/certify/loop"
    tree = hub.repo.git("merge-tree", "--write-tree", "main", branch)
    heads = [hub.repo.git("rev-parse", name) for name in ("main", branch)]
    hub.repo.git("update-ref", "refs/heads/main", hub.repo.commit(tree, heads, "merge"))


def test_the_next_plan_is_packed_by_what_the_last_certification_took(
    client: Client, hub: FakeHub, clone: Callable[[str], Path], tmp_path: Path
) -> None:
    first = make(tmp_path, tmp_path / "nothing")
    (alone,) = first.shards
    bundle = certify(first, tmp_path / "a")
    deliver(client, bundle)
    land(hub)
    checkout = clone("main")
    path = checkout / "certifications" / "loop" / TIMINGS_NAME
    assert path.read_bytes() == (bundle.directory / TIMINGS_NAME).read_bytes()
    taken = json.loads(path.read_bytes())["seconds"][CLASS]
    for cell in first.cells:
        pace = PACE[cell.modality.value]
        # The first record of a cell took 0.2 seconds, by its own account.
        assert taken[cell.id] == pytest.approx(pace * (len(cell.scenarios) - 1) + 0.2, abs=0.1)
    again = make(tmp_path, checkout / "certifications")
    assert [cell.id for cell in again.cells] == [cell.id for cell in first.cells]
    assert len(again.shards) > len(first.shards) == 1
    assert sum(shard.expected_seconds for shard in again.shards) == pytest.approx(
        sum(taken.values()), rel=0.05
    )
    assert sum(taken.values()) > 2 * alone.expected_seconds


def test_a_run_of_fewer_cells_leaves_the_other_timings_as_they_were(
    client: Client, hub: FakeHub, clone: Callable[[str], Path], tmp_path: Path
) -> None:
    plan = make(tmp_path, tmp_path / "nothing")
    bundle = certify(plan, tmp_path / "a")
    before = json.loads((bundle.directory / TIMINGS_NAME).read_bytes())["seconds"][CLASS]
    deliver(client, bundle)
    land(hub)
    later = certify(plan, tmp_path / "b", days=1)
    chat = next(cell.id for cell in plan.cells if cell.modality.value == "chat")
    only = {"schema": "aprqa-timings/1", "seconds": {CLASS: {chat: 7.5}}}
    (later.directory / TIMINGS_NAME).write_text(json.dumps(only))
    deliver(client, later)
    path = clone("aprqa/certify/loop") / "certifications" / "loop" / TIMINGS_NAME
    assert json.loads(path.read_bytes())["seconds"][CLASS] == before | {chat: 7.5}
