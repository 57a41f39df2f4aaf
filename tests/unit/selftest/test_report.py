"""The document, and the counts of sound runs."""

from pathlib import Path

from markdown_it import MarkdownIt

from aprqa_ci.selftest.falsification import (
    ControlRun,
    FalseAlarm,
    Falsification,
    HealthyRuns,
    JudgedMutant,
    NotApplicable,
    StudyMachine,
    Verdict,
)
from aprqa_ci.selftest.healthy import false_alarms, healthy_runs, healthy_trials
from aprqa_ci.selftest.mutants import MutantClass, mutant_file
from aprqa_ci.selftest.report import falsification_markdown
from aprqa_ci.selftest.trial import Caught, TrialResult
from aprqa_ci.vocabulary import Status
from aprqa_ci.wire import decode_wire, pretty_json

PLANS = mutant_file().plans


def _mutant(number: int, verdict: Verdict, *, held_out: bool = False) -> JudgedMutant:
    return JudgedMutant(
        id=f"m{number}#1",
        class_=MutantClass.WEIGHTS,
        meaning="a | b <b>",
        parameters={"strength": 2},
        expected=("QUAL", "G4"),
        caught_by=("F-A1-001", "G2-BASIC", "G3-STABLE", "G4-GARBAGE", "F-EDGE-JSON-001"),
        status=Status.BLOCKED,
        mqs=0,
        verdict=verdict,
        reason=f"because of {number}",
        held_out=held_out,
        seconds=1.0,
    )


def _study(*mutants: JudgedMutant, alarms: tuple[FalseAlarm, ...] = ()) -> Falsification:
    return Falsification(
        tool_version="1",
        policy="p, version 1",
        model="tiny",
        date="2026-01-01T00:00:00Z",
        seconds=61.4,
        machine=StudyMachine(
            system="Linux x86_64", processors=2, python="3", engines={"reference": "1"}
        ),
        mutants=mutants,
        not_applicable=(NotApplicable(id="n#1", reason="the model has no *.gguf"),),
        controls=(ControlRun(plan="gguf", status=Status.CERTIFIED, mqs=1000, non_green=()),),
        healthy_runs=HealthyRuns(
            runs=5,
            scenarios=100,
            certified=5 - len(alarms),
            seeds=3,
            plans=("gguf",),
            workers=(1, 2),
            threads=(1,),
            non_green=tuple(f"run {number}: Falsified" for number in range(70)),
        ),
        false_alarms=alarms,
    )


def test_the_document_says_all_of_it() -> None:
    alarm = FalseAlarm(run="gguf, seed 7", status=None, mqs=0, reason="it did not end")
    study = _study(
        _mutant(1, "killed"),
        _mutant(2, "survived", held_out=True),
        _mutant(3, "equivalent"),
        alarms=(alarm,),
    )
    text = falsification_markdown(study)
    counts = next(line for line in text.splitlines() if line.startswith("| weights"))
    assert [cell.strip() for cell in counts.split("|")[2:-1]] == ["3", "1", "1", "1", "1", "0"]
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert html.count("<table>") == 5
    assert "<b>" not in html
    assert "`m2#1` (held out)" in text
    for said in ("because of 2", "because of 3", "it did not end", "run 59", "and 10 more"):
        assert said in text, said
    assert "run 60:" not in text
    assert "because of 1<" not in html
    assert "F-EDGE-JSON-001" not in text
    assert "and 1 more" in text
    assert "`n#1`: the model has no" in text


def test_a_study_without_survivors_says_none() -> None:
    text = falsification_markdown(_study(_mutant(1, "killed")))
    assert text.count("None.") == 2


def test_the_json_is_strict_and_comes_back() -> None:
    study = _study(_mutant(1, "killed"))
    data = pretty_json(study)
    assert decode_wire(data, Falsification, source="x") == study
    assert b'"class": "weights"' in data


def test_sound_runs_have_seeds_of_their_own_and_every_combination() -> None:
    trials = healthy_trials(Path("m"), PLANS, 200)
    assert len({trial.id for trial in trials}) == 200
    assert len({trial.seed for trial in trials}) == 200
    combinations = {(trial.workers, trial.threads) for trial in trials}
    assert len(combinations) == 6
    assert {trial.shape for trial in trials if trial.threads == 2} == set(PLANS.values())
    assert all(trial.breakage is None and trial.fault is None for trial in trials)


def test_everything_that_is_not_certified_is_a_false_alarm() -> None:
    trials = healthy_trials(Path("m"), PLANS, 4)
    caught = (Caught(gate="G2-BASIC", scenario="s", reason="why"),)
    results = [
        TrialResult(id=trials[0].id, status=Status.CERTIFIED, scenarios=10),
        TrialResult(id=trials[1].id, status=Status.BLOCKED, caught=caught, non_green=("s: F",)),
        TrialResult(id=trials[2].id, status=Status.PROVISIONAL, scenarios=5),
        TrialResult(id=trials[3].id, lack="it did not end"),
    ]
    runs = healthy_runs(trials, results, ["b", "a"])
    assert (runs.runs, runs.certified, runs.scenarios, runs.seeds) == (4, 1, 15, 4)
    assert runs.plans == ("a", "b")
    assert runs.non_green == (f"{trials[1].id}: s: F",)
    said = [alarm.reason for alarm in false_alarms(results)]
    assert said == ["G2-BASIC: why", "no gate failed", "it did not end"]
