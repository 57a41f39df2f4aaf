from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.sealing import seal_shard
from aprqa_ci.certification.steps import Surroundings
from aprqa_ci.evidence.journal import JOURNAL_NAME, Journal, JournalHead
from aprqa_ci.evidence.merging import MANIFEST_NAME, merge, read_shard
from aprqa_ci.planning.plan import Plan, plan_digest
from tests.playbooks import planned, playbook_data
from tests.records import NOON, made_records

PLAN: Plan = planned(playbook_data())
RECORDS = made_records(PLAN)
SURROUNDINGS = Surroundings(now=lambda: NOON, run_command=lambda _: None)


def seal(directory: Path, plan: Plan = PLAN) -> int:
    return seal_shard(directory, plan, "s001", attempt=2, exit_code=143, surroundings=SURROUNDINGS)


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """A shard that was ended in the middle of its third record."""
    head = JournalHead(run_id="r", plan_digest=plan_digest(PLAN), started="2026-01-02T11:00:00Z")
    with Journal(tmp_path / JOURNAL_NAME, head, resume=False) as journal:
        journal.digests("tiny", "safetensors", {"model.safetensors": "a" * 64})
        for record in RECORDS[:2]:
            journal.append(record)
    with (tmp_path / JOURNAL_NAME).open("ab") as stream:
        stream.write(b'{"id": "to')
    return tmp_path


def test_what_was_recorded_is_evidence(ended: Path) -> None:
    assert seal(ended) == 2
    shard = read_shard(ended)
    assert shard.records == RECORDS[:2]
    manifest = shard.manifest
    assert (manifest.shard, manifest.attempt, manifest.exit) == ("s001", 2, 143)
    assert manifest.started == "2026-01-02T11:00:00Z"
    assert manifest.model_digests == {"tiny": {"safetensors": {"model.safetensors": "a" * 64}}}


def test_what_was_not_is_missing_when_it_is_merged(ended: Path) -> None:
    seal(ended)
    merged = merge([read_shard(ended)], PLAN)
    assert merged.missing_shards == ()
    assert len(merged.missing_scenarios) == len(RECORDS) - 2


def test_a_shard_that_never_began_has_a_manifest(tmp_path: Path) -> None:
    assert seal(tmp_path) == 0
    shard = read_shard(tmp_path)
    assert shard.records == ()
    assert shard.manifest.started == shard.manifest.finished


def test_the_runner_class_is_that_of_the_plan(tmp_path: Path) -> None:
    shards = tuple(msgspec.structs.replace(each, runner="big-gpu") for each in PLAN.shards)
    for number, plan in enumerate((PLAN, msgspec.structs.replace(PLAN, shards=shards))):
        folder = tmp_path / str(number)
        folder.mkdir()
        seal(folder, plan)
    runners = [read_shard(tmp_path / name).manifest.runner for name in ("0", "1")]
    assert runners == [None, "big-gpu"]


def test_a_damaged_journal_is_kept_and_is_no_evidence(ended: Path) -> None:
    (ended / JOURNAL_NAME).write_bytes(b"{}\n{}\n")
    assert seal(ended) == 0
    assert read_shard(ended).records == ()
    assert (ended / JOURNAL_NAME).exists()


def test_a_shard_that_came_to_its_end_is_left_alone(ended: Path) -> None:
    (ended / MANIFEST_NAME).write_bytes(b"mine")
    assert seal(ended) == 0
    assert (ended / MANIFEST_NAME).read_bytes() == b"mine"
