from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from aprqa_ci.execution.checks import CHECKS
from aprqa_ci.execution.checks.files import FILE_GATES
from aprqa_ci.execution.checks.open_cell import Finding
from aprqa_ci.execution.comparing.file_tests import FILE_TESTS
from aprqa_ci.execution.protocol import Answered, Reply
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.plan import GroundTruth, PlannedPlaybook, PromptCase
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome
from tests.cells import cell_of, playbook_of

GOLDEN, SAME, PADDING = "F-GOLDEN-RULE-001", "F-ROSETTA-INF-001", "F-ROSETTA-INF-003"
SAFETENSORS = cell_of(format=ModelFormat.SAFETENSORS)


class ScriptedFiles:
    """What a cell's files are compared with, from a script; keeps whom it was asked for."""

    def __init__(self, answers: Sequence[Answered] | str = "") -> None:
        self._answers = answers if isinstance(answers, str) else tuple(answers)
        self.asked: list[tuple[str, tuple[PromptCase, ...]]] = []

    def judged(self, gate_id: str) -> Finding:
        return Finding(outcome=Outcome.CORROBORATED, reason=f"of {gate_id}", figures={})

    def truth_answers(self, cases: Sequence[PromptCase]) -> tuple[Answered, ...] | str:
        self.asked.append(("truth", tuple(cases)))
        return self._answers

    def converted_answers(self, cases: Sequence[PromptCase]) -> tuple[Answered, ...] | str:
        self.asked.append(("converted", tuple(cases)))
        return self._answers


def with_settings(**settings: Any) -> PlannedPlaybook:
    return replace(playbook_of(), comparisons=Comparisons(**settings))


def test_every_gate_of_a_section_has_its_check() -> None:
    assert set(FILE_GATES) == set(FILE_TESTS)
    asked = {
        gate.id
        for gate in gate_catalogue().values()
        if (gate.section or "").startswith(("contract_tests.", "differential_tests."))
    }
    assert asked == {*FILE_GATES, GOLDEN, SAME, PADDING}
    assert asked <= set(CHECKS)


@pytest.mark.parametrize("gate", FILE_GATES)
def test_what_files_say_is_passed_on(scripted: Any, gate: str) -> None:
    assert CHECKS[gate](scripted(files=ScriptedFiles())).reason == f"of {gate}"


@pytest.mark.parametrize("gate", [GOLDEN, SAME])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("one two three four", "one two three four"),
        ("one two three four", "five six seven eight"),
        ("one two three four", ""),
        ("", ""),
        (" \n", " \n"),
    ],
)
def test_answers_must_agree_and_be_answers(
    scripted: Any, answered: Callable[..., Answered], gate: str, ours: str, theirs: str
) -> None:
    outcome = Outcome.CORROBORATED if ours == theirs and ours.strip() else Outcome.FALSIFIED
    count = len(playbook_of().probe_prompts) if gate == GOLDEN else 1
    files = ScriptedFiles([answered(theirs)] * count)
    found = CHECKS[gate](scripted(lambda *_: answered(ours), files=files))
    assert found.outcome is outcome
    assert found.figures["answers"] == [ours] * count
    assert found.figures["compared_with"] == [theirs] * count
    assert f"{count} answers of {10 * count} tokens" in found.reason


def test_one_empty_pair_is_not_made_up_for(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    playbook = playbook_of(probe_prompts=playbook_of().probe_prompts * 50)
    texts = [answered("same words"), *[answered("same words")] * 98, answered("")]
    cell = scripted(lambda number, _: texts[number], files=ScriptedFiles(texts), playbook=playbook)
    found = CHECKS[GOLDEN](cell)
    assert found.outcome is Outcome.FALSIFIED
    assert "2 answers are empty" in found.reason


def test_zero_tokens_show_nothing(scripted: Any, answered: Callable[..., Answered]) -> None:
    said = answered("words", completion_tokens=0)
    found = CHECKS[SAME](scripted(lambda *_: said, files=ScriptedFiles([answered("words")])))
    assert found.outcome is Outcome.FALSIFIED


def test_where_they_differ_is_said(scripted: Any, answered: Callable[..., Answered]) -> None:
    for ours, theirs, place in (("abc", "abd", 2), ("ab", "abd", 2), ("abc", "abc", None)):
        cell = scripted(
            lambda *_, ours=ours: answered(ours), files=ScriptedFiles([answered(theirs)])
        )
        assert CHECKS[SAME](cell).figures["first_difference"] == [place]


@pytest.mark.parametrize(
    ("cell", "partner"),
    [
        (cell_of(), "truth"),
        (SAFETENSORS, "converted"),
        (replace(SAFETENSORS, backend=Backend.GPU), "truth"),
    ],
)
def test_the_ground_truth_is_not_compared_with_itself(
    scripted: Any, answered: Callable[..., Answered], cell: Any, partner: str
) -> None:
    files = ScriptedFiles([answered()])
    CHECKS[SAME](scripted(files=files, cell=cell))
    assert [name for name, _ in files.asked] == [partner]


def test_the_reference_engine_on_its_own_file_is_itself(
    scripted: Any, answered: Callable[..., Answered]
) -> None:
    truth = GroundTruth(format=ModelFormat.GGUF, quantization="f16")
    playbook = playbook_of(ground_truth=truth)
    for engine, partner in (("reference", "converted"), (None, "truth")):
        files = ScriptedFiles([answered()])
        CHECKS[SAME](scripted(files=files, cell=cell_of(engine=engine), playbook=playbook))
        assert files.asked[0][0] == partner


def test_the_section_says_what_is_asked(scripted: Any, answered: Callable[..., Answered]) -> None:
    files = ScriptedFiles([answered()])
    cell = scripted(files=files, playbook=with_settings(prompt="Why?", max_tokens=3))
    CHECKS[SAME](cell)
    CHECKS[PADDING](cell)
    ((_, (case,)),) = files.asked
    assert [each.turns for each in (*cell.asked, case)] == [("Why?",)] * 3
    assert {each.max_tokens for each in (*cell.asked, case)} == {3}
    assert {each.temperature for each in (*cell.asked, case)} == {0.0}


@pytest.mark.parametrize("gate", [GOLDEN, SAME])
def test_without_a_counterpart_nothing_is_judged(scripted: Any, gate: str) -> None:
    found = CHECKS[gate](scripted(files=ScriptedFiles("it is not here")))
    assert found.outcome is Outcome.SKIPPED
    assert str(found.cause) == "infrastructure:no-counterpart"
    assert "it is not here" in found.reason


@pytest.mark.parametrize("gate", [GOLDEN, SAME, PADDING])
def test_an_engine_that_fails_speaks_against_the_model(
    scripted: Any, answered: Callable[..., Answered], no_answer: tuple[Reply, str], gate: str
) -> None:
    reply, text = no_answer
    files = ScriptedFiles([answered()] * len(playbook_of().probe_prompts))
    found = CHECKS[gate](scripted(lambda *_: reply, files=files))
    assert found.outcome is Outcome.FALSIFIED
    assert text in found.reason


@pytest.mark.parametrize(
    ("text", "tokens", "outcome"),
    [
        ("four", 10, Outcome.CORROBORATED),
        ("four<|endoftext|>", 4, Outcome.CORROBORATED),
        ("four" + "<pad>" * 3, 10, Outcome.CORROBORATED),
        ("four" + "<pad>" * 4, 10, Outcome.FALSIFIED),
        ("[PAD151935]" * 10, 10, Outcome.FALSIFIED),
        ("a" + "\x00" * 9, 10, Outcome.FALSIFIED),
        ("", 10, Outcome.FALSIFIED),
        ("four", 0, Outcome.FALSIFIED),
    ],
)
def test_a_flood_of_padding(
    scripted: Any, answered: Callable[..., Answered], text: str, tokens: int, outcome: Outcome
) -> None:
    said = answered(text, completion_tokens=tokens)
    found = CHECKS[PADDING](scripted(lambda *_: said))
    assert found.outcome is outcome
    assert found.figures["tokens"] == tokens
