"""What is judged of an APR file, from reports that are made up: no tool is asked."""

from dataclasses import replace
from pathlib import Path

import pytest

from aprqa_ci.execution.comparing import judge_files
from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.examiners import Examination, ExaminesFiles, FindExaminer, no_examiner
from aprqa_ci.execution.integrity.finding import GateFinding
from aprqa_ci.execution.integrity.inspection import inspect_model
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.vocabulary import ModelFormat
from tests.apr_standin_files import read
from tests.tiny_llama import write_tiny_llama

FINITE, TENSORS, DIGEST = "G0-INTEGRITY-FINITE", "G0-TENSOR-001", "G0-DIGEST-001"
NORM = "model.norm.weight"


class Examiner:
    """Says what it was given, or fails so."""

    def __init__(self, said: Examination | Exception) -> None:
        self._said = said
        self.asked: list[Path] = []

    def examine(self, file: Path) -> Examination:
        self.asked.append(file)
        if isinstance(self._said, Exception):
            raise self._said
        return self._said


@pytest.fixture
def model(tmp_path: Path) -> ModelFiles:
    directory = write_tiny_llama(tmp_path / "model")
    path = directory / "model.apr"
    path.write_bytes(b"not read here")
    return ModelFiles(
        format=ModelFormat.APR, weights=(path,), directory=directory, source="local_path"
    )


@pytest.fixture
def sound(model: ModelFiles) -> Examination:
    names = tuple(read(model.directory / "model.safetensors"))
    return Examination(format="APR", tensors=len(names), names=names, violations=0, failed={})


def told(said: Examination | Exception) -> FindExaminer:
    found: ExaminesFiles = Examiner(said)
    return lambda: (found, "apr/1")


def inspected(model: ModelFiles, examiner: FindExaminer) -> dict[str, GateFinding]:
    found = inspect_model(model, ground_truth=None, expected={}, examiner=examiner)
    return {finding.gate_id: finding for finding in found.findings}


def test_a_sound_report_is_named_as_what_it_rests_on(model: ModelFiles, sound: Examination) -> None:
    examiner = Examiner(sound)
    found = inspected(model, lambda: (examiner, "apr/1"))
    assert {gate: str(each.state) for gate, each in found.items()} == {
        DIGEST: "corroborated",
        FINITE: "corroborated",
        TENSORS: "corroborated",
    }
    assert found[FINITE].reason.startswith(f"apr/1 looked at {sound.tensors} tensors and found")
    assert "their shapes it does not say" in found[TENSORS].reason
    # Once for all gates.
    assert examiner.asked == list(model.weights)


def test_unsound_tensors_are_named(model: ModelFiles, sound: Examination) -> None:
    broken = replace(sound, violations=3, failed={NORM: "7 NaN values"})
    finding = inspected(model, told(broken))[FINITE]
    assert finding.state == "falsified"
    assert f"{NORM}: 7 NaN values; 2 broken rules more" in finding.reason
    # What is counted and not named is broken as well.
    assert inspected(model, told(replace(sound, violations=1)))[FINITE].state == "falsified"


def test_names_are_held_against_the_architecture(model: ModelFiles, sound: Examination) -> None:
    lost = replace(sound, names=(*(name for name in sound.names if name != NORM), "a.b"))
    finding = inspected(model, told(lost))[TENSORS]
    assert finding.state == "falsified"
    assert finding.reason == f"missing 1 tensor: {NORM}; 1 tensor foreign to this architecture: a.b"


@pytest.mark.parametrize(
    "said", [EngineAbsentError("an unknown shape"), EngineAbsentError("exited with code 9")]
)
def test_no_report_is_no_pass(model: ModelFiles, said: Exception) -> None:
    for examiner in (told(said), no_examiner):
        found = inspected(model, examiner)
        assert {found[gate].state for gate in (FINITE, TENSORS)} == {"skipped"}
        assert found[DIGEST].state == "corroborated"


def test_names_that_cannot_be_held_against_anything_are_no_pass(
    model: ModelFiles, sound: Examination
) -> None:
    nameless = inspected(model, told(replace(sound, names=())))
    assert nameless[TENSORS].state == "skipped"
    assert nameless[FINITE].state == "corroborated"
    (model.directory / "config.json").unlink()
    assert "no config.json beside" in inspected(model, told(sound))[TENSORS].reason
    assert inspected(model, told(sound))[TENSORS].state == "skipped"


def test_a_file_that_its_tool_does_not_take_is_damaged(
    model: ModelFiles, sound: Examination
) -> None:
    for said in (ModelLoadError("Invalid APR format"), replace(sound, format="GGUF")):
        found = inspected(model, told(said))
        assert {found[gate].state for gate in (FINITE, TENSORS)} == {"falsified"}
        assert found[FINITE].reason.endswith(("Invalid APR format", "takes the file for GGUF"))


def test_several_files_are_not_one(model: ModelFiles, sound: Examination) -> None:
    several = replace(model, weights=(*model.weights, model.directory / "model.safetensors"))
    assert inspected(several, told(sound))[FINITE].state == "skipped"


def test_the_header_of_an_apr_file(model: ModelFiles, sound: Examination) -> None:
    def header(examiner: FindExaminer) -> tuple[str, str]:
        (found,) = judge_files(
            ["F-APR-FORMAT-003"],
            model,
            None,
            settings=Comparisons(),
            limit=0.1,
            root=Path(),
            examiner=examiner,
        )
        return found.state, found.reason

    assert header(told(sound)) == (
        "corroborated",
        f"apr/1 read the header of 13 bytes: {sound.tensors} tensors, all looked at",
    )
    assert header(told(ModelLoadError("Invalid APR format")))[0] == "falsified"
    assert header(no_examiner)[0] == "skipped"
