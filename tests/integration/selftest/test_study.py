"""Mutants through the real pipeline: real files, real engines, real child processes."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aprqa_ci.cli.main import run
from aprqa_ci.data_files import bundled_model
from aprqa_ci.selftest.falsification import Falsification
from aprqa_ci.selftest.mutants import MutantClass, PlanShape, chosen_samples, mutant_file
from aprqa_ci.selftest.study import StudyOptions, run_study, trial_of
from aprqa_ci.selftest.trial import Trial, TrialResult, run_trial
from aprqa_ci.selftest.trial_process import run_apart
from aprqa_ci.selftest.verdict import judge
from aprqa_ci.vocabulary import ModelFormat, Status
from aprqa_ci.wire import read_wire

FILE = mutant_file()
MODEL = bundled_model()


@pytest.mark.slow
def test_the_fast_subset_is_killed_and_the_sound_model_certified(tmp_path: Path) -> None:
    path, page = tmp_path / "falsification.json", tmp_path / "falsification.md"
    arguments = ["selftest", "--fast", "--workers", "2", "--json", str(path)]
    assert run([*arguments, "--markdown", str(page)]) == 0
    study = read_wire(path, Falsification)
    assert {mutant.class_ for mutant in study.mutants} == set(MutantClass)
    assert [(each.id, each.reason) for each in study.mutants if each.verdict != "killed"] == []
    assert study.false_alarms == ()
    assert {control.status for control in study.controls} == {Status.CERTIFIED}
    assert study.healthy_runs.runs == len(study.controls)
    assert "/" not in "".join(each.reason.partition(": ")[2][:1] for each in study.mutants)
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    # The page is made of the file alone.
    again = tmp_path / "again.md"
    assert run(["selftest", "--from", str(path), "--markdown", str(again)]) == 0
    assert again.read_bytes() == page.read_bytes()


@pytest.mark.parametrize("name", ["noise-below-storage#1", "crash-at-exit#1", "server-events#1"])
def test_single_mutants_end_as_they_should(name: str) -> None:
    (sample,) = chosen_samples(FILE.mutants, only=[name])
    trial = trial_of(sample, FILE.plans, MODEL)
    # The proof computes in the trial's own process, with one thread.
    result = run_trial(trial) if trial.fault else run_apart(trial, time_box_s=300)
    judged = judge(sample, result)
    assert judged.verdict == ("equivalent" if name.startswith("noise") else "killed"), judged.reason
    assert result.scenarios > 50
    assert not any(path.endswith("/engine") for path in sys.path)


def test_a_model_that_lacks_what_is_broken_is_not_counted() -> None:
    (sample,) = chosen_samples(FILE.mutants, only=["gguf-empty#1"])
    trial = trial_of(sample, FILE.plans, MODEL)
    assert trial.breakage is not None
    broken = trial.breakage.__class__(transform="remove", parameters={"file": "*.bin"})
    shape = FILE.plans["gguf"]
    result = run_trial(Trial(id="x", model=MODEL, shape=shape, breakage=broken))
    assert not result.applicable
    assert result.status is None


def test_a_trial_that_hangs_or_dies_is_no_death(tmp_path: Path) -> None:
    trial = Trial(id="x", model=MODEL, shape=PlanShape(formats=(ModelFormat.GGUF,)))
    hangs = (sys.executable, "-c", "import time; time.sleep(60)")
    started = time.monotonic()
    result = run_apart(trial, time_box_s=0.5, command=hangs)
    assert "did not end within 0.5 s" in result.lack
    assert time.monotonic() - started < 30
    dies = (sys.executable, "-c", "import sys; sys.exit('no more')")
    result = run_apart(trial, time_box_s=30, command=dies)
    assert "ended with 1: no more" in result.lack
    assert result.status is None
    missing = run_trial(Trial(id="x", model=tmp_path / "none", shape=trial.shape))
    assert "FileNotFoundError" in missing.lack


def test_a_study_of_another_model_says_what_it_lacks(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((MODEL / name).read_bytes())
    seen: list[tuple[str, int, int]] = []

    def progress(result: TrialResult, number: int, of: int) -> None:
        seen.append((result.id, number, of))

    study = run_study(
        chosen_samples(FILE.mutants, only=["generation-eos#1", "config-missing#1"]),
        {**FILE.plans, "both": FILE.plans["safetensors"]},
        StudyOptions(model=tmp_path, healthy=1, workers=2),
        now=lambda: datetime.now(UTC),
        progress=progress,
    )
    assert [each.id for each in study.not_applicable] == ["generation-eos#1"]
    assert [(each.id, each.verdict) for each in study.mutants] == [("config-missing#1", "killed")]
    assert [number for _, number, _ in seen] == [1, 2, 3, 4, 5]
    assert study.healthy_runs.runs == 3
    assert study.false_alarms == ()
    assert study.model == tmp_path.name


def test_survivors_and_false_alarms_have_their_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.json"
    source: dict[str, object] = {
        "tool_version": "1",
        "policy": "p",
        "model": "m",
        "date": "d",
        "seconds": 1.0,
        "machine": {"system": "s", "processors": 1, "python": "3", "engines": {}},
        "mutants": [
            {
                "id": "a#1",
                "class": "files",
                "meaning": "m",
                "parameters": {},
                "expected": ["G0"],
                "caught_by": [],
                "status": "CERTIFIED",
                "mqs": 1000,
                "verdict": "survived",
                "reason": "nobody saw it",
                "held_out": False,
                "seconds": 1.0,
            }
        ],
        "not_applicable": [],
        "controls": [],
        "healthy_runs": {
            "runs": 1,
            "scenarios": 1,
            "certified": 1,
            "seeds": 1,
            "plans": [],
            "workers": [],
            "threads": [],
            "non_green": [],
        },
        "false_alarms": [],
    }
    path.write_text(json.dumps(source), encoding="utf-8")
    assert run(["selftest", "--from", str(path)]) == 1
    shown = capsys.readouterr()
    assert "survived: a#1: nobody saw it" in shown.out
    assert "1 mutants survived" in shown.err
    source["false_alarms"] = [{"run": "r", "status": None, "mqs": 0, "reason": "it hung"}]
    path.write_text(json.dumps(source), encoding="utf-8")
    assert run(["selftest", "--from", str(path), "--json", "-"]) == 3
    assert json.loads(capsys.readouterr().out)["false_alarms"][0]["reason"] == "it hung"
    source |= {"false_alarms": [], "mutants": []}
    path.write_text(json.dumps(source), encoding="utf-8")
    assert run(["selftest", "--from", str(path)]) == 2
    assert run(["selftest", "--only", "no-such-mutant"]) == 2
