"""The suites' own answers satisfy the suites' own oracles, and other answers do not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.oracles.interface import OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import oracle_for, oracle_names
from aprqa_ci.planning.suites import DrawnPrompt, draw_prompt, entries_for, load_suites
from aprqa_ci.vocabulary import Modality

ENTRIES = [
    (suite.name, number, entry.id)
    for suite in load_suites().values()
    for number, entry in enumerate(entries_for(suite, Modality.SERVE))
]
CHECKED = [
    (suite, number, entry)
    for suite, number, entry in ENTRIES
    if entries_for(load_suites()[suite], Modality.SERVE)[number].oracle.kind != "response"
]
"""Where not any decent answer will do."""


def verdict(drawn: DrawnPrompt, answer: str) -> OracleVerdict:
    case = drawn.case
    question = Question(prompt=case.turns[-1], history=case.turns[:-1], raw=case.raw)
    return oracle_for(case.oracle).judge(question, answer).verdict


def draw(name: str, number: int, rounds: int, seed: int) -> DrawnPrompt:
    suite = load_suites()[name]
    index = number + rounds * len(entries_for(suite, Modality.SERVE))
    return draw_prompt(suite, index, seed=seed, modality=Modality.SERVE)


@pytest.mark.parametrize(("name", "number", "entry"), ENTRIES)
@given(rounds=st.integers(0, 1000), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_the_reference_is_accepted(
    name: str, number: int, entry: str, rounds: int, seed: int
) -> None:
    drawn = draw(name, number, rounds, seed)
    assert drawn.entry == entry
    assert verdict(drawn, drawn.reference[-1]) is OracleVerdict.CORROBORATED


@pytest.mark.parametrize(("name", "number", "entry"), ENTRIES)
@pytest.mark.parametrize("answer", ["", "RRRRRRRRRRRRRRRRRRRRRRRR", "\ufffd\ufffd\ufffd"])
def test_garbage_is_not(name: str, number: int, entry: str, answer: str) -> None:
    drawn = draw(name, number, 0, 42)
    assert drawn.entry == entry
    assert verdict(drawn, answer) is OracleVerdict.FALSIFIED


@pytest.mark.parametrize(("name", "number", "entry"), CHECKED)
def test_a_wrong_answer_is_not(name: str, number: int, entry: str) -> None:
    drawn = draw(name, number, 0, 42)
    assert drawn.entry == entry
    assert verdict(drawn, "Perhaps 997, who knows?") is OracleVerdict.FALSIFIED


def test_most_entries_check_the_answer_itself() -> None:
    assert len(CHECKED) >= 0.85 * len(ENTRIES)


def test_every_kind_of_oracle_is_known() -> None:
    kinds = {entry.oracle.kind for suite in load_suites().values() for entry in suite.prompts}
    assert kinds <= set(oracle_names())
