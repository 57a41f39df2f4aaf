from pathlib import Path

import msgspec
import pytest

from aprqa_ci.certification.bundle import write_bundle
from aprqa_ci.evidence.record import EvidenceRecord
from aprqa_ci.github.annotations import annotations_of
from aprqa_ci.github.workflow_commands import Annotation, Level, annotate
from aprqa_ci.vocabulary import Outcome
from tests.bundles import made_bundle, made_plan, scenario_id

FILE = "playbooks/tiny.playbook.yaml"
ALL = [each.id for cell in made_plan().cells for each in cell.scenarios]
PROMPTS = [each for each in ALL if each.endswith(("001", "002", "003"))]


def told(
    directory: Path, outcomes: dict[str, Outcome] | None = None, cause: str | None = None
) -> tuple[Annotation, ...]:
    bundle = made_bundle(directory, outcomes=outcomes, cause=cause)
    return annotations_of(bundle.report, playbook=FILE)


def test_a_good_run_has_nothing_to_say(tmp_path: Path) -> None:
    assert told(tmp_path / "b") == ()


def test_a_gateway_is_told_once_and_at_the_playbook(tmp_path: Path) -> None:
    loads = [each for each in ALL if each.endswith("#G1-LOAD")]
    assert len(loads) == 2
    (only,) = told(tmp_path / "b", dict.fromkeys(loads, Outcome.FALSIFIED))
    assert only == Annotation(
        level=Level.ERROR,
        title="tiny-mvp: gateway G1 failed",
        message=f"2 Falsified; first {loads[0]}: because",
        file=FILE,
        line=1,
    )


@pytest.mark.parametrize("outcome", [Outcome.FALSIFIED, Outcome.CRASHED, Outcome.TIMEOUT])
def test_a_gate_that_fails_is_told_once(tmp_path: Path, outcome: Outcome) -> None:
    checks = [each for each in ALL if each.endswith("#F-PERF-TPS-001")]
    found = told(tmp_path / "b", dict.fromkeys(checks, outcome))
    (only,) = (each for each in found if each.title == "tiny-mvp: F-PERF-TPS-001 failed")
    assert only.level is Level.ERROR
    assert only.message.startswith(f"{len(checks)} {outcome}; first ")


def test_a_gateway_that_fails_by_other_gates_gives_its_reason(tmp_path: Path) -> None:
    gateway, gate = told(tmp_path / "b", {scenario_id(): Outcome.CRASHED})
    assert gateway.title == "tiny-mvp: gateway G3 failed"
    assert gateway.message == "F-A1-001 Crashed: because"
    assert gate.message == f"1 Crashed; it is {scenario_id()}: because"


def test_what_could_not_be_tested_is_a_warning(tmp_path: Path) -> None:
    skipped = dict.fromkeys(PROMPTS, Outcome.SKIPPED)
    found = told(tmp_path / "a", skipped, "infrastructure:engine-missing")
    assert {each.level for each in found} == {Level.WARNING}
    assert sum(int(each.message.split()[0]) for each in found) == len(PROMPTS)
    assert told(tmp_path / "b", skipped, "policy:stopped-early") == ()


def test_what_has_no_record_is_a_warning(tmp_path: Path) -> None:
    bundle = made_bundle(tmp_path / "a")
    lost = [each for each in bundle.records if each.metadata["scenario"] != scenario_id()]
    found = annotations_of(
        write_bundle(tmp_path / "b", bundle.plan, tuple(lost), model_digests={}).report,
        playbook=FILE,
    )
    (only,) = (each for each in found if each.level is Level.WARNING)
    assert only.message == f"1 missing; it is {scenario_id()}: no record"


def test_words_of_a_model_give_no_orders(tmp_path: Path) -> None:
    def hostile(record: EvidenceRecord) -> EvidenceRecord:
        return msgspec.structs.replace(record, reason="x\n::error file=y::z\x1b[31m")

    failed = {scenario_id("G1-LOAD"): Outcome.FALSIFIED}
    bundle = made_bundle(tmp_path / "b", outcomes=failed, mend=hostile)
    written: list[str] = []
    annotate(annotations_of(bundle.report, playbook="a,line=9::b\n::c"), written.append)
    text = "".join(written)
    assert text.count("\n") == len(written) == 1
    assert "file=a%2Cline=9%3A%3Ab" in text
    assert "\x1b" not in text
