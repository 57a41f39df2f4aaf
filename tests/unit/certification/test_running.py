from collections import Counter
from pathlib import Path

from msgspec.structs import replace

from aprqa_ci.certification.running import RunOptions, RunOutput, run_into
from aprqa_ci.certification.steps import Surroundings, make_plan, merge_shards, run_shard
from aprqa_ci.certification.timings import CellTimings, read_timings, write_timings
from aprqa_ci.evidence.merging import EVIDENCE_NAME, MANIFEST_NAME, read_shard
from aprqa_ci.evidence.reading import write_evidence
from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.execution.preflight import PreflightProblem
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan
from aprqa_ci.planning.runner_classes import default_runners
from aprqa_ci.vocabulary import Outcome, Status
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data
from tests.records import made_shard
from tests.running import Onlooker

PLAN = planned(playbook_data(test_matrix={"modalities": ["run", "chat"]}), tier="quick")
FIRST, SECOND = PLAN.cells


def world(root: Path) -> Surroundings:
    return Surroundings(environment={}, home=root, root=root, run_command=lambda _: None)


def refused(
    directory: Path, *, observer: Onlooker | None = None, resume: bool = False
) -> RunOutput:
    """A run on a machine that is fit for nothing."""
    both = (FIRST.id, SECOND.id)
    problems = (
        PreflightProblem(word="preflight-disk", what="no disk", cells=both),
        PreflightProblem(word="preflight-model", what="no model", cells=(SECOND.id,)),
    )
    surroundings = world(directory)
    return run_into(
        directory,
        PLAN,
        both,
        options=RunOptions(resume=resume, preflight=problems),
        environment=surroundings.run_environment(PLAN),
        host=surroundings.host(),
        observer=observer or Onlooker(),
    )


def test_refused_cells_are_recorded_as_skipped_and_nothing_is_started(tmp_path: Path) -> None:
    observer = Onlooker()
    output = refused(tmp_path, observer=observer)
    ids = [scenario.id for cell in PLAN.cells for scenario in cell.scenarios]
    assert [record.metadata[MetadataKey.SCENARIO] for record in output.records] == ids
    assert {record.outcome for record in output.records} == {Outcome.SKIPPED}
    causes = Counter(record.metadata[MetadataKey.CAUSE] for record in output.records)
    assert causes == {"infrastructure:preflight-disk": len(ids)}
    assert {record.reason for record in output.records} == {"no disk", "no disk; no model"}
    assert observer.seen == len(ids)
    assert observer.events == [
        f"started {FIRST.id} {len(FIRST.scenarios)}",
        f"finished {FIRST.id}",
        f"started {SECOND.id} {len(SECOND.scenarios)}",
        f"finished {SECOND.id}",
    ]
    assert [problem.word for problem in output.preflight] == ["preflight-disk", "preflight-model"]


def test_a_resumed_run_refuses_nothing_twice(tmp_path: Path) -> None:
    first = refused(tmp_path)
    observer = Onlooker()
    again = refused(tmp_path, observer=observer, resume=True)
    assert again.records == first.records
    assert observer.events == []


def test_a_shard_whose_model_is_not_here_is_complete_and_judges_nothing(tmp_path: Path) -> None:
    output = run_shard(
        PLAN, "s001", out=tmp_path / "s001", surroundings=world(tmp_path), observer=Onlooker()
    )
    assert {problem.word for problem in output.preflight} == {"preflight-model"}
    shard = read_shard(tmp_path / "s001")
    assert len(shard.records) == sum(len(cell.scenarios) for cell in PLAN.cells)
    merged, (bundle,) = merge_shards([tmp_path / "s001"], PLAN, out=tmp_path / "merged")
    assert merged.missing_shards == ()
    assert bundle.certificate.status is Status.INCONCLUSIVE


def write_playbook(folder: Path) -> Path:
    path = folder / "tiny.playbook.yaml"
    path.write_bytes(pretty_json(playbook_data(test_matrix={"modalities": ["run", "chat"]})))
    return path


def planned_with_timings(root: Path) -> Plan:
    return make_plan(
        [write_playbook(root)],
        options=PlanOptions(shards=2, runners=default_runners()),
        surroundings=world(root),
        certifications=root / "certifications",
    )


def test_what_cells_took_packs_the_next_plan(tmp_path: Path) -> None:
    before = planned_with_timings(tmp_path)
    slow = before.cells[1].id
    write_timings(
        tmp_path / "certifications" / "tiny",
        CellTimings(seconds={"ubuntu-latest": {slow: 4000.0}, "elsewhere": {slow: 1.0}}),
    )
    after = planned_with_timings(tmp_path)
    assert after.shards[0].cells == (slow,)
    assert 4000 <= after.shards[0].expected_seconds < 4100
    assert after.for_playbook("tiny") == before.for_playbook("tiny")


def test_merging_keeps_what_the_cells_took(tmp_path: Path) -> None:
    plan = planned_with_timings(tmp_path)
    folders = []
    for each in plan.shards:
        shard = made_shard(plan, each.id)
        folders.append(tmp_path / each.id)
        digest = write_evidence(folders[-1] / EVIDENCE_NAME, shard.records)
        files = {EVIDENCE_NAME: digest}
        manifest = pretty_json(replace(shard.manifest, files=files))
        (folders[-1] / MANIFEST_NAME).write_bytes(manifest)
    merge_shards(folders, plan, out=tmp_path / "certifications")
    known = read_timings(tmp_path / "certifications" / "tiny")
    assert set(known) == {(cell.id, "ubuntu-latest") for cell in plan.cells}
    assert all(seconds > 1 for seconds in known.values())


def test_a_run_that_was_none_teaches_nothing(tmp_path: Path) -> None:
    plan = planned_with_timings(tmp_path)
    for shard in plan.shards:
        out = tmp_path / shard.id
        run_shard(plan, shard.id, out=out, surroundings=world(tmp_path), observer=Onlooker())
    merge_shards([tmp_path / each.id for each in plan.shards], plan, out=tmp_path / "out")
    assert read_timings(tmp_path / "out" / "tiny") == {}
