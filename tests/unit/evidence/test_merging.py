from collections import defaultdict
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.evidence.merging import (
    EVIDENCE_NAME,
    MANIFEST_NAME,
    ShardEvidence,
    ShardFiles,
    ShardManifest,
    merge,
    merge_playbooks,
    read_shard,
    settle,
)
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.evidence.record import EvidenceRecord, MetadataKey
from aprqa_ci.planning.plan import plan_digest
from aprqa_ci.scoring.evaluate import score_evidence
from aprqa_ci.scoring.policies import load_policy
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_records, made_shard

MATRIX = {"modalities": ["run", "chat", "serve"]}
PLAN = planned(
    playbook_data("one", test_matrix=MATRIX), playbook_data("two"), tier="quick", shards=3
)
SHARDS = [made_shard(PLAN, shard.id) for shard in PLAN.shards]


def changed(given: ShardEvidence, /, **manifest: object) -> ShardEvidence:
    return ShardEvidence(
        directory=given.directory,
        manifest=msgspec.structs.replace(given.manifest, **manifest),
        records=given.records,
    )


def with_records(shard: ShardEvidence, records: tuple[EvidenceRecord, ...]) -> ShardEvidence:
    return ShardEvidence(directory=shard.directory, manifest=shard.manifest, records=records)


def problems_of(*shards: ShardEvidence) -> list[str]:
    with pytest.raises(InputError) as caught:
        merge(shards, PLAN)
    return [str(problem) for problem in caught.value.problems]


def write(directory: Path, shard: ShardEvidence) -> Path:
    digest = write_evidence(directory / EVIDENCE_NAME, shard.records)
    manifest = msgspec.structs.replace(shard.manifest, files={EVIDENCE_NAME: digest})
    (directory / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    return directory


@given(st.permutations(SHARDS))
def test_the_order_of_shards_changes_nothing(shards: list[ShardEvidence]) -> None:
    merged = merge(shards, PLAN)
    assert merged == merge(SHARDS, PLAN)
    assert merged.missing_shards == merged.missing_scenarios == merged.superseded == ()
    for playbook in PLAN.playbooks:
        planned_ids = [each.id for cell in PLAN.cells_of(playbook.name) for each in cell.scenarios]
        recorded = [record.metadata["scenario"] for record in merged.records[playbook.name]]
        assert recorded == planned_ids


@pytest.mark.parametrize(("most_held", "times"), [(0, 3), (10, 3), (10_000, 1)])
def test_how_many_records_are_held_changes_nothing(most_held: int, times: int) -> None:
    names = ("one", "two", "three")
    plan = planned(*map(playbook_data, names), tier="quick", shards=1)
    shard = made_shard(plan, "s001")
    asked: list[str] = []

    def load(given: ShardFiles) -> tuple[EvidenceRecord, ...]:
        asked.append(given.name)
        return shard.records

    attempts = settle([shard], plan, load)
    asked.clear()
    merged = list(merge_playbooks(attempts, plan, load, most_held=most_held))
    assert asked == ["s001 a1"] * times
    assert {each.name: each.records for each in merged} == merge([shard], plan).records
    assert sum(len(each.records) for each in merged) == len(shard.records)


def test_it_is_the_evidence_of_a_run_on_one_machine() -> None:
    merged = merge(SHARDS, PLAN)
    whole = {record.metadata["scenario"]: record for record in made_records(PLAN)}
    for records in merged.records.values():
        for record in records:
            expected = whole[record.metadata["scenario"]]
            assert record.outcome == expected.outcome
            assert record.metadata["plan"] == expected.metadata["plan"]


@given(st.lists(st.sampled_from(SHARDS), unique_by=lambda shard: shard.manifest.shard))
def test_what_is_absent_is_named(shards: list[ShardEvidence]) -> None:
    merged = merge(shards, PLAN)
    there = {shard.manifest.shard for shard in shards}
    absent = [shard for shard in PLAN.shards if shard.id not in there]
    assert merged.missing_shards == tuple(shard.id for shard in absent)
    cells = {name for shard in absent for name in shard.cells}
    lost = {each.id for cell in PLAN.cells if cell.id in cells for each in cell.scenarios}
    assert set(merged.missing_scenarios) == lost
    recorded = {
        record.metadata["scenario"] for records in merged.records.values() for record in records
    }
    assert recorded.isdisjoint(lost)


def test_a_scenario_without_a_record_is_missing() -> None:
    shard = with_records(SHARDS[0], SHARDS[0].records[1:])
    merged = merge([shard, *SHARDS[1:]], PLAN)
    assert merged.missing_shards == ()
    assert merged.missing_scenarios == (SHARDS[0].records[0].metadata["scenario"],)


@given(st.permutations([1, 2, 3]))
def test_of_each_shard_the_newest_attempt_counts(attempts: list[int]) -> None:
    repeated = [made_shard(PLAN, "s001", attempt=attempt) for attempt in attempts]
    merged = merge([*repeated, *SHARDS[1:]], PLAN)
    assert merged.superseded == ("s001 a1", "s001 a2")
    counted = {
        record.metadata["attempt"]
        for records in merged.records.values()
        for record in records
        if record.metadata["cell"] in PLAN.shards[0].cells
    }
    assert counted == {"3"}


def test_a_newer_attempt_that_did_not_end_does_not_count() -> None:
    broken = made_shard(PLAN, "s001", attempt=2, code=143)
    merged = merge([broken, *SHARDS], PLAN)
    assert (merged.superseded, merged.unfinished) == (("s001 a2",), ())
    assert merged.records == merge(SHARDS, PLAN).records
    alone = merge([broken, *SHARDS[1:]], PLAN)
    assert (alone.superseded, alone.unfinished) == ((), ("s001 a2 (exit 143)",))


def test_what_attempts_disagree_on_is_kept() -> None:
    flaky, steady, skipped = (each.id for each in PLAN.cells[0].scenarios[:3])
    assert PLAN.cells[0].id in PLAN.shards[0].cells
    first = made_shard(
        PLAN, "s001", outcomes={flaky: Outcome.CRASHED, skipped: Outcome.SKIPPED}, code=143
    )
    second = made_shard(PLAN, "s001", attempt=2, outcomes={steady: Outcome.FALSIFIED})
    third = made_shard(PLAN, "s001", attempt=3, outcomes={steady: Outcome.FALSIFIED})
    merged = merge([third, first, second, *SHARDS[1:]], PLAN)
    kept = [
        (record.metadata["scenario"], record.metadata["attempt"], record.outcome)
        for record in merged.disagreeing["one"]
    ]
    # Of what they agree on, nothing is kept; nor is a skip an end that others could disagree with.
    assert kept == [
        (flaky, "1", Outcome.CRASHED),
        (flaky, "2", Outcome.CORROBORATED),
        (steady, "1", Outcome.CORROBORATED),
        (steady, "2", Outcome.FALSIFIED),
    ]
    assert merged.disagreeing["two"] == ()
    assert merged.superseded == ("s001 a1", "s001 a2")


def test_other_model_files_are_not_compared() -> None:
    flaky = PLAN.cells[0].scenarios[0].id
    old = made_shard(
        PLAN,
        "s001",
        digests={"model.safetensors": "b" * 64},
        outcomes={flaky: Outcome.FALSIFIED},
    )
    new = made_shard(PLAN, "s001", attempt=2)
    merged = merge([old, new, *SHARDS[1:]], PLAN)
    assert merged.disagreeing == {"one": (), "two": ()}
    assert merged.incomparable == ("s001 a1 (one)", "s001 a1 (two)")
    same = made_shard(PLAN, "s001", outcomes={flaky: Outcome.FALSIFIED})
    assert merge([same, new, *SHARDS[1:]], PLAN).incomparable == ()


def test_re_running_failed_jobs_merges_new_shards_with_old_ones() -> None:
    again = made_shard(PLAN, "s002", attempt=2)
    merged = merge([SHARDS[0], made_shard(PLAN, "s002", code=3), SHARDS[2], again], PLAN)
    assert merged.missing_shards == merged.missing_scenarios == merged.unfinished == ()
    attempts = {
        record.metadata["cell"]: record.metadata["attempt"]
        for records in merged.records.values()
        for record in records
    }
    assert attempts == {
        cell: "2" if shard.id == "s002" else "1" for shard in PLAN.shards for cell in shard.cells
    }


ENDS = st.sampled_from(list(Outcome))
ATTEMPT = st.tuples(
    st.sampled_from([shard.id for shard in PLAN.shards]),
    st.integers(1, 4),
    st.sampled_from([0, 0, 3, 143]),
    st.lists(ENDS, min_size=2, max_size=2),
)


def attempt_of(shard: str, attempt: int, code: int, ends: list[Outcome]) -> ShardEvidence:
    cells = next(each.cells for each in PLAN.shards if each.id == shard)
    first = next(cell for cell in PLAN.cells if cell.id in cells)
    outcomes = {each.id: end for each, end in zip(first.scenarios, ends, strict=False)}
    return made_shard(PLAN, shard, attempt=attempt, outcomes=outcomes, code=code)


@given(st.lists(ATTEMPT, unique_by=lambda each: each[:2], max_size=8), st.randoms())
def test_whatever_attempts_there_are_their_order_changes_nothing(
    attempts: list[tuple[str, int, int, list[Outcome]]], random: Random
) -> None:
    shards = [attempt_of(*each) for each in attempts]
    merged = merge(shards, PLAN)
    mixed = random.sample(shards, len(shards))
    assert merge(mixed, PLAN) == merged
    scored = []
    for each in (merged, merge(mixed, PLAN)):
        records = [*each.records["one"], *each.disagreeing["one"]]
        random.shuffle(records)
        scored.append(score_evidence(records, plan=PLAN, playbook="one", policy=load_policy()))
    assert scored[0] == scored[1]
    assert all(each.outcome is not Outcome.SKIPPED for each in merged.disagreeing["one"])
    # What one end of a scenario hides from the evidence, no other end may have shown.
    ends: defaultdict[str, set[Outcome]] = defaultdict(set)
    for shard in shards:
        for record in shard.records:
            ends[record.metadata["scenario"]].add(record.outcome)
    own = {each.id for cell in PLAN.cells_of("one") for each in cell.scenarios}
    expected = {name for name in own if len(ends[name] - {Outcome.SKIPPED}) > 1}
    assert {each.scenario for each in scored[0].flaky} == expected
    for flaky in scored[0].flaky:
        assert {end.outcome for end in flaky.ends} == ends[flaky.scenario] - {Outcome.SKIPPED}
    credited = {each.scenario for each in scored[0].scenarios if each.earned}
    assert credited.isdisjoint(expected)


def test_a_shard_that_is_given_twice_is_refused() -> None:
    (problem,) = problems_of(*SHARDS, SHARDS[1])
    assert "shard s002 attempt 1 is given twice; the other is in s002-1" in problem


def test_a_shard_of_another_plan_is_refused() -> None:
    problems = problems_of(changed(SHARDS[0], plan_digest="0" * 64), *SHARDS[1:])
    assert len(problems) == 1
    assert "s001-1: shard s001 ran another plan (000000000000…)" in problems[0]


def test_a_shard_that_the_plan_does_not_know_is_refused() -> None:
    (problem,) = problems_of(changed(SHARDS[0], shard="s009"), *SHARDS[1:])
    assert "the plan has no shard 's009'" in problem


def test_a_record_of_another_shards_cell_is_refused() -> None:
    foreign = with_records(SHARDS[0], (*SHARDS[0].records, SHARDS[1].records[0]))
    (problem,) = problems_of(foreign, *SHARDS[1:])
    assert "is of no scenario of shard s001" in problem


def test_a_record_that_says_no_scenario_is_refused() -> None:
    nameless = msgspec.structs.replace(SHARDS[0].records[0], metadata={})
    (problem,) = problems_of(with_records(SHARDS[0], (nameless, *SHARDS[0].records[1:])))
    assert "is of no scenario of shard s001" in problem


def test_a_scenario_that_the_cell_has_not_is_refused() -> None:
    record = SHARDS[0].records[0]
    metadata = record.metadata | {str(MetadataKey.SCENARIO): f"{record.metadata['cell']}#999"}
    strange = msgspec.structs.replace(record, metadata=metadata)
    (problem,) = problems_of(with_records(SHARDS[0], (*SHARDS[0].records, strange)))
    assert "is of no scenario of shard s001" in problem


def test_a_scenario_that_is_recorded_twice_is_refused() -> None:
    doubled = with_records(SHARDS[0], (*SHARDS[0].records, SHARDS[0].records[0]))
    (problem,) = problems_of(doubled)
    assert "is recorded twice" in problem


def test_every_problem_is_told() -> None:
    assert len(problems_of(changed(SHARDS[0], shard="s009"), SHARDS[1], SHARDS[1])) == 2


def test_shards_must_have_tested_the_same_files() -> None:
    other = made_shard(PLAN, "s002", digests={"model.safetensors": "b" * 64})
    problems = problems_of(SHARDS[0], other, SHARDS[2])
    assert any("one safetensors: shards tested different model files" in each for each in problems)
    assert merge(SHARDS, PLAN).model_digests["one"] == {
        "safetensors": {"model.safetensors": "a" * 64}
    }


def test_a_shard_is_read_from_its_directory(tmp_path: Path) -> None:
    shard = read_shard(write(tmp_path, SHARDS[0]))
    assert shard.records == SHARDS[0].records
    assert shard.manifest.shard == "s001"
    assert shard.manifest.plan_digest == plan_digest(PLAN)


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SHARDS[0])
    path = tmp_path / EVIDENCE_NAME
    path.write_bytes(path.read_bytes().replace(b'"output": "4"', b'"output": "5"', 1))
    with pytest.raises(InputError, match=r"not the one that the manifest names .SHA-256"):
        read_shard(tmp_path)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    write(tmp_path, SHARDS[0])
    (tmp_path / EVIDENCE_NAME).unlink()
    with pytest.raises(InputError, match=r"evidence\.json: cannot read the file"):
        read_shard(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [({}, "the manifest names no evidence.json"), ({"../secret": "0"}, "leads out of")],
)
def test_a_manifest_names_its_evidence_and_nothing_outside(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    write(tmp_path, SHARDS[0])
    manifest = msgspec.structs.replace(SHARDS[0].manifest, files=files)
    (tmp_path / MANIFEST_NAME).write_bytes(pretty_json(manifest))
    with pytest.raises(InputError, match=message):
        read_shard(tmp_path)


def test_a_manifest_of_another_version_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SHARDS[0])
    path = tmp_path / MANIFEST_NAME
    path.write_bytes(path.read_bytes().replace(b"aprqa-shard/1", b"aprqa-shard/2"))
    with pytest.raises(InputError, match="aprqa-shard/2"):
        read_shard(tmp_path)
    assert ShardManifest.__struct_config__.forbid_unknown_fields


def test_a_manifest_of_before_runner_classes_is_read() -> None:
    data = msgspec.json.decode(pretty_json(SHARDS[0].manifest))
    del data["runner"]
    assert msgspec.convert(data, ShardManifest).runner is None
