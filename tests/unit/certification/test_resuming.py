import json
from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.bundle import (
    CERTIFICATE_NAME,
    EVIDENCE_NAME,
    baseline_in,
    write_bundle,
)
from aprqa_ci.certification.resuming import finished_bundles
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.journal import JOURNAL_NAME, Journal, JournalHead
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.planning.plan import Plan
from tests.playbooks import planned, playbook_data
from tests.records import made_records

NAMES = ("one", "two", "three")


def plan_of(**matrix: object) -> Plan:
    return planned(*(playbook_data(name, test_matrix=matrix) for name in NAMES), tier="mvp")


def finish(out: Path, plan: Plan, name: str) -> None:
    own = plan.for_playbook(name)
    write_bundle(out / name, own, made_records(own), model_digests={})


def interrupt(out: Path, name: str) -> None:
    (out / name).mkdir(exist_ok=True)
    (out / name / JOURNAL_NAME).touch()


def keep_journal(out: Path, name: str, *, run_id: str = "run-1", also: bool = False) -> None:
    """Leave the journal that the bundle was made of, as a run does until it has delivered."""
    records = read_evidence(out / name / EVIDENCE_NAME)
    head = JournalHead(run_id=run_id, plan_digest="of then", started="2026-11-01T00:00:00Z")
    with Journal(out / name / JOURNAL_NAME, head, resume=False) as journal:
        for record in records:
            journal.append(record)
        if also:
            journal.append(msgspec.structs.replace(records[0], id="0" * 32))


def test_the_playbooks_before_the_interrupted_one_are_finished(tmp_path: Path) -> None:
    plan = plan_of()
    finish(tmp_path, plan, "one")
    interrupt(tmp_path, "two")
    finish(tmp_path, plan, "three")  # by an older run, for this one never came to it
    assert set(finished_bundles(plan, tmp_path)) == {"one"}


def test_a_baseline_that_came_meanwhile_does_not_start_a_playbook_again(tmp_path: Path) -> None:
    plan = plan_of()
    finish(tmp_path, plan, "one")
    interrupt(tmp_path, "two")
    baseline = baseline_in(tmp_path / "one")
    assert baseline is not None
    again = planned(
        *(playbook_data(name) for name in NAMES), tier="mvp", baselines={"one": baseline}
    )
    assert again.for_playbook("one") != plan.for_playbook("one")
    assert set(finished_bundles(again, tmp_path)) == {"one"}


def test_without_a_journal_nothing_was_interrupted(tmp_path: Path) -> None:
    plan = plan_of()
    finish(tmp_path, plan, "one")
    assert finished_bundles(plan, tmp_path) == {}


def test_another_playbook_of_that_name_is_not_finished(tmp_path: Path) -> None:
    finish(tmp_path, plan_of(), "one")
    interrupt(tmp_path, "two")
    assert finished_bundles(plan_of(seed=5), tmp_path) == {}


def test_a_playbook_that_never_ran_is_not_finished(tmp_path: Path) -> None:
    interrupt(tmp_path, "three")
    assert finished_bundles(plan_of(), tmp_path) == {}


def test_a_finished_bundle_that_was_changed_is_refused(tmp_path: Path) -> None:
    plan = plan_of()
    finish(tmp_path, plan, "one")
    interrupt(tmp_path, "two")
    path = tmp_path / "one" / CERTIFICATE_NAME
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"mqs": 3}), encoding="utf-8")
    with pytest.raises(InputError, match="MQS"):
        finished_bundles(plan, tmp_path)


def test_a_playbook_whose_bundle_holds_its_journal_is_finished(tmp_path: Path) -> None:
    plan = plan_of()
    for name in ("one", "two"):
        finish(tmp_path, plan, name)
        keep_journal(tmp_path, name)
    interrupt(tmp_path, "three")
    assert set(finished_bundles(plan, tmp_path)) == {"one", "two"}
    assert finished_bundles(plan_of(seed=5), tmp_path) == {}


@pytest.mark.parametrize("kind", ["another run", "more than the bundle", "half written", "no plan"])
def test_a_journal_that_its_bundle_does_not_hold_is_gone_on_with(tmp_path: Path, kind: str) -> None:
    plan = plan_of()
    finish(tmp_path, plan, "one")
    run_id = "run-2" if kind == "another run" else "run-1"
    keep_journal(tmp_path, "one", run_id=run_id, also=kind == "more than the bundle")
    evidence = tmp_path / "one" / EVIDENCE_NAME
    if kind == "half written":
        evidence.write_bytes(evidence.read_bytes().replace(b"Corroborated", b"Falsified", 1))
    if kind == "no plan":
        (tmp_path / "one" / "plan.json").unlink()
    assert finished_bundles(plan, tmp_path) == {}
