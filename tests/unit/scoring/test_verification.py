"""Answers to one prompt in several formats, compared."""

from typing import TYPE_CHECKING

import msgspec
import pytest

from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.planning.plan import OracleSpec, Plan, PlannedGate, PromptCase
from aprqa_ci.scoring.score import ScenarioScore
from aprqa_ci.vocabulary import Category, ModelFormat, Outcome, Severity

if TYPE_CHECKING:
    from tests.unit.scoring.conftest import Bench

CASE = PromptCase(
    turns=("Hello",), suite="verification_tests#1", oracle=OracleSpec(kind="response")
)
LONG = "one two three four five six seven eight nine ten"


def plan_of(bench: "Bench", condition: str, formats: tuple[ModelFormat, ...]) -> Plan:
    plan = bench.plan(formats=formats)
    cells = tuple(
        msgspec.structs.replace(
            cell,
            scenarios=tuple(
                msgspec.structs.replace(each, prompt=CASE) if each.id.endswith("#001") else each
                for each in cell.scenarios
            ),
        )
        for cell in plan.cells
    )
    gate = PlannedGate(
        id="verification_tests[0]",
        scenario="book#verification_tests[0]",
        gate_id="playbook:verification_tests[0]",
        category=Category.COMP,
        severity=Severity.P1,
        description="d",
        condition=condition,
    )
    book = msgspec.structs.replace(plan.playbooks[0], gates=(gate,))
    return msgspec.structs.replace(plan, cells=cells, playbooks=(book,))


def judged(
    bench: "Bench",
    condition: str,
    gguf: str,
    safetensors: str = LONG,
    *,
    skipped: bool = False,
    formats: tuple[ModelFormat, ...] = (ModelFormat.GGUF, ModelFormat.SAFETENSORS),
) -> ScenarioScore:
    plan = plan_of(bench, condition, formats)
    name = "book:run-cpu-gguf#001"
    said = {name: gguf, "book:run-cpu-safetensors#001": safetensors}
    records = [
        msgspec.structs.replace(
            record, output=said.get(record.metadata[MetadataKey.SCENARIO], record.output)
        )
        for record in bench.evidence(plan, {name: Outcome.SKIPPED} if skipped else {})
    ]
    return bench.score(records, plan).scenarios[-1]


@pytest.mark.parametrize(
    ("condition", "gguf", "outcome"),
    [
        ("verification_agrees('1')", LONG, Outcome.CORROBORATED),
        # q8_0 is of the class `high`: nine words of ten agree to 0.9 and more.
        ("verification_agrees('1')", f"{LONG} eleven", Outcome.CORROBORATED),
        ("verification_agrees('1')", "something else", Outcome.FALSIFIED),
        ("verification_agrees('1')", "", Outcome.FALSIFIED),
        ("verification_similarity('1') >= 0.4", "one two three four", Outcome.CORROBORATED),
        ("verification_similarity('1') >= 0.9", "one two three four", Outcome.FALSIFIED),
        ("verification_agrees('2')", LONG, Outcome.SKIPPED),
    ],
)
def test_answers_are_compared(bench: "Bench", condition: str, gguf: str, outcome: Outcome) -> None:
    assert judged(bench, condition, gguf).outcome is outcome


def test_two_empty_answers_do_not_agree(bench: "Bench") -> None:
    found = judged(bench, "verification_agrees('1')", "", "")
    assert found.outcome is Outcome.FALSIFIED


def test_a_format_is_not_compared_with_itself(bench: "Bench") -> None:
    for condition in ("verification_agrees('1')", "verification_similarity('1') >= 0"):
        found = judged(bench, condition, LONG, formats=(ModelFormat.GGUF,))
        assert (found.outcome, found.cause) == (Outcome.SKIPPED, "policy:not-judged")


def test_an_answer_that_was_not_given_is_missing(bench: "Bench") -> None:
    found = judged(bench, "verification_agrees('1')", LONG, skipped=True)
    assert found.outcome is Outcome.SKIPPED
    assert "book:run-cpu-gguf#001" in found.reason
