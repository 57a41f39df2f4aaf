from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.checks import CHECKS
from aprqa_ci.execution.checks.comparison import similarity
from aprqa_ci.execution.protocol import Answered, Reply, WeightsCompared
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import ModelFormat, Outcome
from tests.cells import cell_of, playbook_of, prompt_of

AGREE, ROUND_TRIP = "F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "the", "four"]), max_size=12)
SEPARATORS = st.sampled_from([" ", "\n", "\t ", "  "])


@given(WORDS, WORDS)
def test_similarity_is_a_share(ours: list[str], theirs: list[str]) -> None:
    assert 0.0 <= similarity(" ".join(ours), " ".join(theirs)) <= 1.0


@given(WORDS.filter(bool), SEPARATORS)
def test_only_the_words_count(words: list[str], separator: str) -> None:
    assert similarity(separator.join(words), " ".join(words)) == 1.0


@given(WORDS.filter(bool), WORDS.filter(bool))
def test_different_words_are_not_wholly_alike(ours: list[str], theirs: list[str]) -> None:
    assert (similarity(" ".join(ours), " ".join(theirs)) == 1.0) == (ours == theirs)


@given(WORDS)
def test_empty_never_agrees(words: list[str]) -> None:
    text = " ".join(words)
    assert similarity("", text) == similarity(text, " \n") == 0.0


@given(WORDS.filter(bool))
def test_nothing_in_common_is_zero_both_ways(words: list[str]) -> None:
    other = " ".join(f"x{word}" for word in words)
    assert similarity(" ".join(words), other) == similarity(other, " ".join(words)) == 0.0


def test_similarity_is_the_ratio_of_matching_words() -> None:
    # Two of three words on either side match: 2 * 2 / 6.
    assert similarity("one two three", "one two four") == pytest.approx(2 / 3)


def _truth_cell(scripted: Any, texts: list[str], truth: tuple[str, ...], **more: Any) -> Any:
    playbook = playbook_of(
        probe_prompts=tuple(prompt_of(f"q{index}", temperature=0.7) for index in range(len(texts)))
    )
    return scripted(
        lambda number, _case: Answered(
            text=texts[number],
            prompt_tokens=1,
            completion_tokens=1,
            finish="stop",
            time_to_first_token_ms=1,
            duration_ms=1,
            memory_mb=1,
            memory_peak_mb=1,
        ),
        truth=truth,
        playbook=playbook,
        **more,
    )


def test_agreement_asks_every_probe_greedily(scripted: Any) -> None:
    cell = _truth_cell(scripted, ["a b", "c"], ("a b", "c"))
    finding = CHECKS[AGREE](cell)
    assert finding.outcome is Outcome.CORROBORATED
    assert finding.figures == {
        "agreement": [1.0, 1.0],
        "answers": ["a b", "c"],
        "ground_truth": ["a b", "c"],
    }
    assert [case.temperature for case in cell.asked] == [0.0, 0.0]


@pytest.mark.parametrize("name", ["f16", "q8_0", "q4_0", "q2_k"])
@pytest.mark.parametrize("above", [True, False])
def test_agreement_is_held_to_the_limit_of_the_quantization(
    scripted: Any, name: str, above: bool
) -> None:
    # Of 100 probes, so many agree that the mean is at the limit, or one less.
    cell = scripted(cell=cell_of(quantization=name))
    limit = cell.limits.classes[quantization_catalogue()[name].agreement].agreement
    right = round(limit * 100) - (not above)
    texts = ["same"] * right + ["other"] * (100 - right)
    finding = CHECKS[AGREE](
        _truth_cell(scripted, texts, ("same",) * 100, cell=cell_of(quantization=name))
    )
    assert finding.outcome is (Outcome.CORROBORATED if above else Outcome.FALSIFIED)


def test_formats_without_quantization_are_held_to_the_exact_class(scripted: Any) -> None:
    cell = cell_of(format=ModelFormat.SAFETENSORS)
    texts = ["same"] * 94 + ["other"] * 6
    finding = CHECKS[AGREE](_truth_cell(scripted, texts, ("same",) * 100, cell=cell))
    assert finding.outcome is Outcome.FALSIFIED


def test_empty_answers_do_not_agree_with_an_empty_truth(scripted: Any) -> None:
    finding = CHECKS[AGREE](_truth_cell(scripted, ["", ""], ("", "")))
    assert finding.outcome is Outcome.FALSIFIED


def test_without_ground_truth_there_is_no_verdict(scripted: Any) -> None:
    cell = scripted(truth="the files are not here")
    finding = CHECKS[AGREE](cell)
    assert finding.outcome is Outcome.SKIPPED
    assert str(finding.cause) == "infrastructure:no-ground-truth"
    assert "the files are not here" in finding.reason
    assert cell.asked == []


def test_a_probe_that_is_not_answered_does_not_agree(
    scripted: Any, no_answer: tuple[Reply, str]
) -> None:
    reply, text = no_answer
    finding = CHECKS[AGREE](scripted(lambda *_: reply, truth=("a", "b")))
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason


def _compared(**replaced: Any) -> WeightsCompared:
    figures: dict[str, Any] = {
        "tensors": 9,
        "worst_tensor": "model.norm.weight",
        "worst_error": 0.0,
        "exact": False,
    }
    return WeightsCompared(**{**figures, **replaced})


@pytest.mark.parametrize("name", ["f16", "q8_0", "q4_0", "q2_k"])
def test_the_round_trip_is_held_to_the_limit_of_the_quantization(scripted: Any, name: str) -> None:
    cell = cell_of(quantization=name)
    limits = scripted().limits
    limit = limits.classes[quantization_catalogue()[name].agreement].weight_error
    at, beyond = (
        CHECKS[ROUND_TRIP](scripted(weights=_compared(worst_error=error), cell=cell))
        for error in (limit, limit * 1.001)
    )
    assert at.outcome is Outcome.CORROBORATED
    assert beyond.outcome is Outcome.FALSIFIED
    assert "model.norm.weight" in beyond.reason


def test_weights_infinitely_far_off_fail_in_every_class(scripted: Any) -> None:
    reply = _compared(worst_error=None)
    finding = CHECKS[ROUND_TRIP](scripted(weights=reply, cell=cell_of(quantization="q2_k")))
    assert finding.outcome is Outcome.FALSIFIED
    assert "model.norm.weight, shares nothing with it" in finding.reason


def test_a_missing_tensor_is_named(scripted: Any) -> None:
    reply = _compared(worst_error=None, reason="x is missing in y.gguf")
    finding = CHECKS[ROUND_TRIP](scripted(weights=reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert finding.reason == "x is missing in y.gguf"


def test_nothing_compared_is_no_verdict(scripted: Any) -> None:
    reply = _compared(tensors=0, worst_tensor="", reason="a split GGUF file is not compared")
    finding = CHECKS[ROUND_TRIP](scripted(weights=reply))
    assert finding.outcome is Outcome.SKIPPED
    assert finding.reason == "a split GGUF file is not compared"
    assert str(finding.cause) == "infrastructure:nothing-compared"


def test_files_that_cannot_be_read_speak_against_the_model(
    scripted: Any, no_answer: tuple[Reply, str]
) -> None:
    reply, text = no_answer
    finding = CHECKS[ROUND_TRIP](scripted(weights=reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason


def test_the_catalogue_of_checks_is_that_of_the_gates() -> None:
    made = {gate.id for gate in gate_catalogue().values() if gate.made_by == "check"}
    assert set(CHECKS) == made - {"G1-LOAD"}


def test_every_agreement_class_has_limits(scripted: Any) -> None:
    kinds = {each.agreement for each in quantization_catalogue().values()}
    assert kinds <= set(scripted().limits.classes)


@pytest.mark.parametrize(
    ("worst", "typical", "holds"),
    [
        (1.0, 1.0, True),
        ("excess_worst", "excess_typical", True),
        (9.4, 1.0, False),
        (1.2, 1.12, False),
        (None, None, True),
    ],
)
def test_a_cruder_quantization_than_need_be_is_no_round_trip(
    scripted: Any, worst: float | str | None, typical: float | str | None, holds: bool
) -> None:
    limits = scripted().limits
    reply = _compared(
        worst_error=0.1,
        requantized=5,
        worst_requantized="model.layers.0.mlp.up_proj.weight",
        worst_ratio=getattr(limits, worst) if isinstance(worst, str) else worst,
        typical_ratio=getattr(limits, typical) if isinstance(typical, str) else typical,
    )
    cell = scripted(weights=reply, cell=cell_of(quantization="q4_0"))
    finding = CHECKS[ROUND_TRIP](cell)
    assert finding.outcome is (Outcome.CORROBORATED if holds else Outcome.FALSIFIED)
    assert ("mlp.up_proj" in finding.reason) == (worst is not None)
    assert finding.figures["worst_ratio"] == reply.worst_ratio
