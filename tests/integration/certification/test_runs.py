"""Whole runs of a tiny model with random weights, through the Python API."""

import itertools
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aprqa_ci import certify
from aprqa_ci.certification.bundle import EVIDENCE_NAME, Bundle, read_bundle
from aprqa_ci.certification.diagnostics import DIAGNOSTICS_NAME, Diagnostics
from aprqa_ci.certification.silence import Silence
from aprqa_ci.certification.steps import Surroundings, make_plan, merge_shards, run_shard
from aprqa_ci.errors import InconclusiveError, InputError, InterruptedRunError
from aprqa_ci.evidence.journal import JOURNAL_NAME, Journal, JournalHead, read_journal
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.execution.result import ScenarioResult
from aprqa_ci.files import sha256_file
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import Plan
from aprqa_ci.vocabulary import Outcome, Status
from aprqa_ci.wire import read_wire

if TYPE_CHECKING:
    from tests.integration.certification.conftest import Project


class Interruption(Silence):
    """Ends the run after so many results, as a signal would."""

    def __init__(self, after: int) -> None:
        self._left = after

    def scenario_finished(self, result: ScenarioResult) -> None:
        del result
        self._left -= 1
        if self._left == 0:
            raise InterruptedRunError


def planned_ids(plan: Plan) -> list[str]:
    return [each.id for cell in plan.cells for each in cell.scenarios]


def recorded_ids(records: tuple[EvidenceRecord, ...]) -> list[str]:
    return [record.metadata["scenario"] for record in records]


def outcomes(bundle: Bundle) -> dict[str, Outcome]:
    return {record.metadata["scenario"]: record.outcome for record in bundle.records}


def interrupted(playbooks: Path, world: Surroundings, out: Path, *, after: int) -> Path:
    """Begin a run, end it after so many results, and return the last journal."""
    with pytest.raises(InterruptedRunError):
        certify([playbooks], out=out, surroundings=world, observer=Interruption(after))
    return max(out.rglob(JOURNAL_NAME), key=lambda path: path.stat().st_mtime_ns)


def test_a_run_leaves_a_bundle_that_stands_on_its_own(
    project: "Project", world: Surroundings, tmp_path: Path, tiny_llama: Path
) -> None:
    registry = tmp_path / "models.csv"
    (bundle,) = certify([project()], out=tmp_path / "out", registry=registry, surroundings=world)
    assert recorded_ids(bundle.records) == planned_ids(bundle.plan)
    assert read_bundle(bundle.directory) == bundle
    certificate = bundle.certificate
    # Random weights answer nonsense, but they load and answer.
    assert certificate.status is Status.BLOCKED
    assert {str(name): each.state for name, each in certificate.gateways.items()}["G1"] == "passed"
    weights = certificate.model.files["safetensors"]["model.safetensors"]
    assert weights == sha256_file(tiny_llama / "model.safetensors")
    assert set(certificate.engines) == {"reference"}
    assert b"BLOCKED" in registry.read_bytes()
    assert {path.name for path in bundle.directory.iterdir()} == {
        "plan.json",
        "evidence.json",
        "certificate.json",
        "report.md",
        "report.json",
        "junit.xml",
    }
    assert not (tmp_path / "home").exists()


def test_runs_of_one_plan_answer_alike(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    runs = [certify([project()], out=tmp_path / name, surroundings=world)[0] for name in ("a", "b")]
    answers = [
        [record.output for record in bundle.records if record.gate_id.startswith("F-A")]
        for bundle in runs
    ]
    assert answers[0] == answers[1]
    assert all(answers[0])


def test_an_appending_run_keeps_both_and_the_newest_is_scored(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (first,) = certify([project()], out=out, surroundings=world)
    (second,) = certify([project()], out=out, append=True, surroundings=world)
    assert second.records[: len(first.records)] == first.records
    assert len(second.records) == 2 * len(first.records)
    runs = Counter(record.metadata["run_id"] for record in second.records)
    assert set(runs.values()) == {len(first.records)}
    assert second.certificate.run_id == second.records[-1].metadata["run_id"]
    assert second.certificate.run_id != first.certificate.run_id
    assert second.certificate.totals == first.certificate.totals
    assert read_bundle(second.directory) == second
    (third,) = certify([project()], out=out, surroundings=world)
    assert len(third.records) == len(first.records)


@pytest.mark.parametrize("after", [1, 14])
@pytest.mark.parametrize("torn", [False, True])
def test_a_resumed_run_does_only_what_is_left(
    project: "Project", world: Surroundings, tmp_path: Path, after: int, *, torn: bool
) -> None:
    journal = interrupted(project(), world, tmp_path / "out", after=after)
    whole = journal.read_bytes()
    if torn:
        journal.write_bytes(whole[:-20])
    before = read_journal(journal)
    assert len(before.records) == after - torn
    (bundle,) = certify([project()], out=tmp_path / "out", resume=True, surroundings=world)
    assert recorded_ids(bundle.records) == planned_ids(bundle.plan)
    assert len({record.id for record in bundle.records}) == len(bundle.records)
    assert {record.metadata["run_id"] for record in bundle.records} == {before.head.run_id}
    assert all(record in bundle.records for record in before.records)
    assert bundle.certificate.model.files["safetensors"]
    assert not journal.exists()
    (straight,) = certify([project()], out=tmp_path / "straight", surroundings=world)
    assert outcomes(bundle) == outcomes(straight)


def test_a_resumed_run_of_several_leaves_the_finished_ones_alone(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    playbooks, out = project("one-quick", "two-quick"), tmp_path / "out"
    first = len(planned_ids(plan_of(playbooks, world)))
    journal = interrupted(playbooks, world, out, after=first // 2 + 3)
    assert journal.parent.name == "two-quick"
    evidence = (out / "one-quick" / EVIDENCE_NAME).read_bytes()
    one, two = certify([playbooks], out=out, resume=True, surroundings=world)
    assert (out / "one-quick" / EVIDENCE_NAME).read_bytes() == evidence
    assert one.certificate.run_id != two.certificate.run_id
    assert recorded_ids(two.records) == planned_ids(two.plan)


def test_a_clock_that_went_back_changes_no_verdict(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (first,) = certify([project()], out=out, surroundings=world)
    began, ticks = datetime.now(UTC), itertools.count(1)
    back = replace(world, now=lambda: began - timedelta(hours=next(ticks)))
    with pytest.raises(InconclusiveError, match="the older run would be scored"):
        certify([project()], out=out, append=True, surroundings=back)
    assert read_bundle(first.directory) == first
    assert not (first.directory / JOURNAL_NAME).exists()
    (again,) = certify([project()], out=tmp_path / "alone", surroundings=back)
    assert outcomes(again) == outcomes(first)
    assert again.score.status is first.score.status


def test_an_interrupted_appending_run_is_resumed_with_all_before_it(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (first,) = certify([project()], out=out, surroundings=world)
    with pytest.raises(InterruptedRunError):
        certify([project()], out=out, append=True, surroundings=world, observer=Interruption(3))
    assert read_bundle(first.directory) == first
    (second,) = certify([project()], out=out, append=True, resume=True, surroundings=world)
    assert second.records[: len(first.records)] == first.records
    assert recorded_ids(second.records) == 2 * planned_ids(first.plan)


def test_a_run_that_ended_before_its_journal_was_removed_is_not_kept_twice(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (first,) = certify([project()], out=out, surroundings=world)
    head = JournalHead(
        run_id=str(first.certificate.run_id),
        plan_digest=first.certificate.plan_digest,
        started=str(first.certificate.started),
    )
    with Journal(first.directory / JOURNAL_NAME, head, resume=False) as journal:
        for record in first.records:
            journal.append(record)
    (again,) = certify([project()], out=out, append=True, resume=True, surroundings=world)
    assert again.records == first.records


def test_the_run_of_another_plan_is_not_resumed(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    journal = interrupted(project(), world, tmp_path / "out", after=3)
    before = journal.read_bytes()
    other = project(test_matrix={"seed": 9})
    with pytest.raises(InputError, match=r"of another plan: .*without --resume"):
        certify([other], out=tmp_path / "out", resume=True, surroundings=world)
    assert journal.read_bytes() == before


def test_a_new_run_sets_the_journal_of_an_interrupted_one_aside(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    journal = interrupted(project(), world, tmp_path / "out", after=3)
    before = journal.read_bytes()
    certify([project()], out=tmp_path / "out", surroundings=world)
    (aside,) = journal.parent.glob(f"interrupted-*.{JOURNAL_NAME}")
    assert aside.read_bytes() == before
    assert len(read_journal(aside).records) == 3


def test_without_the_model_there_is_no_verdict_and_the_registry_stays(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    registry = tmp_path / "models.csv"
    certify([project()], out=tmp_path / "out", registry=registry, surroundings=world)
    before = registry.read_bytes()
    missing = project(model={"local_path": str(tmp_path / "nothing")})
    (bundle,) = certify([missing], out=tmp_path / "out", registry=registry, surroundings=world)
    assert bundle.certificate.status is Status.INCONCLUSIVE
    assert recorded_ids(bundle.records) == planned_ids(bundle.plan)
    assert Outcome.CORROBORATED not in outcomes(bundle).values()
    assert registry.read_bytes() == before


def test_shards_merged_in_any_order_are_one_run(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    playbooks = project(test_matrix={"modalities": ["run", "chat"]})
    plan = make_plan([playbooks], options=PlanOptions(shards=2), surroundings=world)
    for shard in plan.shards:
        done = run_shard(
            plan,
            shard.id,
            out=tmp_path / shard.id,
            surroundings=world,
            observer=Silence(),
        )
        assert done.resumed == 0
        assert not (tmp_path / shard.id / JOURNAL_NAME).exists()
    (whole,) = certify([playbooks], out=tmp_path / "whole", surroundings=world)
    folders = [tmp_path / shard.id for shard in plan.shards]
    for number, order in enumerate((folders, folders[::-1])):
        merged, (bundle,) = merge_shards(order, plan, out=tmp_path / f"merged{number}")
        assert merged.missing_shards == ()
        assert outcomes(bundle) == outcomes(whole)
        assert bundle.certificate.mqs == whole.certificate.mqs
        assert bundle.certificate.plan_digest == whole.certificate.plan_digest
        assert bundle.certificate.model.files == whole.certificate.model.files


def test_fail_fast_stops_and_tells_of_the_first_failure(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    playbooks = project(failure_policy="fail_fast")
    (bundle,) = certify([playbooks], out=tmp_path / "out", surroundings=world)
    failures = [record for record in bundle.records if record.outcome.is_failure]
    told = read_wire(bundle.directory / DIAGNOSTICS_NAME, Diagnostics)
    assert told.record == failures[0]
    assert told.command.startswith("aprqa run playbooks/tiny-quick.playbook.yaml --tier quick")
    stopped = [
        record for record in bundle.records if record.metadata.get("cause") == "policy:stopped"
    ]
    assert stopped
    assert {record.outcome for record in stopped} == {Outcome.SKIPPED}
    assert recorded_ids(bundle.records) == planned_ids(bundle.plan)


def test_cells_side_by_side_are_recorded_in_plan_order(
    project: "Project", world: Surroundings, tmp_path: Path
) -> None:
    playbooks = project(test_matrix={"modalities": ["run", "chat"]})
    (bundle,) = certify([playbooks], out=tmp_path / "out", surroundings=world, workers=2)
    assert recorded_ids(bundle.records) == planned_ids(bundle.plan)
    assert recorded_ids(read_evidence(bundle.directory / EVIDENCE_NAME)) == planned_ids(bundle.plan)


def plan_of(playbooks: Path, world: Surroundings) -> Plan:
    return make_plan([playbooks], options=PlanOptions(), surroundings=world)
