import json
from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import CERTIFICATE_NAME, baseline_in, write_bundle
from aprqa_ci.certification.resuming import finished_bundles
from aprqa_ci.errors import InputError
from aprqa_ci.evidence.journal import JOURNAL_NAME
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
