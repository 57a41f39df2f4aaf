"""The study that is committed: strict, whole, of these mutants, and the page is made of it."""

from pathlib import Path

from aprqa_ci.selftest.falsification import Falsification
from aprqa_ci.selftest.mutants import chosen_samples, mutant_file
from aprqa_ci.selftest.report import falsification_markdown
from aprqa_ci.selftest.verdict import as_expected
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import read_wire

DOCS = Path(__file__).resolve().parents[3] / "docs"
STUDY = read_wire(DOCS / "falsification.json", Falsification)


def test_the_page_is_made_of_the_study() -> None:
    page = (DOCS / "falsification.md").read_text(encoding="utf-8")
    assert page == falsification_markdown(STUDY), (
        "run aprqa selftest --from docs/falsification.json --markdown docs/falsification.md"
    )


def test_every_mutant_was_tried() -> None:
    tried = {each.id for each in STUDY.mutants} | {each.id for each in STUDY.not_applicable}
    assert tried == {sample.id for sample in chosen_samples(mutant_file().mutants)}
    assert {each.plan for each in STUDY.controls} == set(mutant_file().plans)


def test_nobody_is_called_dead_who_is_not() -> None:
    for each in STUDY.mutants:
        caught = any(as_expected(gate, each.expected) for gate in each.caught_by)
        stopped = each.status in {Status.BLOCKED, Status.INCONCLUSIVE}
        assert (each.verdict == "killed") is (caught and stopped), each.id
        if each.verdict == "equivalent":
            assert "bit-equal logits" in each.reason, each.id


def test_the_sound_model_ran_often_enough() -> None:
    assert STUDY.healthy_runs.runs >= 200
    refused = STUDY.healthy_runs.runs - STUDY.healthy_runs.certified
    assert refused == len(STUDY.false_alarms)


def test_nothing_speaks_of_the_machine_s_folders() -> None:
    text = (DOCS / "falsification.json").read_text(encoding="utf-8")
    assert "/tmp" not in text  # noqa: S108 - looked for, not used
    assert "/home" not in text
