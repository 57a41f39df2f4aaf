from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from aprqa_ci.execution.checks import CHECKS
from aprqa_ci.execution.protocol import Answered, EngineFailed, Refused, Reply
from aprqa_ci.vocabulary import Outcome
from tests.cells import playbook_of, prompt_of

Say = Callable[..., Answered]
REPEAT, MEMORY = "F-STAB-REPEAT-001", "F-STAB-MEMORY-001"
RECOVERY, OVERFLOW = "F-STAB-RECOVERY-001", "F-EDGE-OVERFLOW-001"


@pytest.mark.parametrize("gate", [REPEAT, MEMORY, RECOVERY])
def test_an_ordinary_prompt_without_answer_fails(
    scripted: Any, no_answer: tuple[Reply, str], gate: str
) -> None:
    reply, text = no_answer
    finding = CHECKS[gate](scripted(lambda *_: reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason


def test_the_same_answer_each_time_holds(scripted: Any, answered: Say) -> None:
    cell = scripted(lambda *_: answered(finish="length"))
    finding = CHECKS[REPEAT](cell)
    assert finding.outcome is Outcome.CORROBORATED
    times, warm = cell.limits.repeat_times, cell.limits.repeat_temperature
    assert [case.temperature for case in cell.asked[: 2 * times]] == [0.0] * times + [warm] * times
    assert warm > 0
    assert len({case.seed for case in cell.asked}) == 1
    # Where the answer is certain any seed gives it, so chance is put to an open question.
    probe, open_question = cell.playbook.probe_prompts[0].turns, cell.limits.repeat_open_question
    asked = [case.turns for case in cell.asked]
    assert asked[: 2 * times] == [probe] * times + [(open_question,)] * times
    assert {case.max_tokens for case in cell.asked[times : 2 * times]} == {
        cell.limits.repeat_open_tokens
    }
    # Then come the open texts.
    assert asked[2 * times :][: len(cell.limits.open_texts)] == [
        (text,) for text in cell.limits.open_texts
    ]
    assert "open_texts" in finding.figures


def test_an_open_text_that_changes_or_is_not_answered_is_no_stability(
    scripted: Any, answered: Say
) -> None:
    finding = CHECKS[REPEAT](
        scripted(lambda number, case: answered(f"{case.raw and number}", finish="length"))
    )
    assert finding.outcome is Outcome.FALSIFIED
    assert "open texts are continued in another way" in finding.reason
    finding = CHECKS[REPEAT](
        scripted(lambda _number, case: EngineFailed(message="lost") if case.raw else answered())
    )
    assert finding.outcome is Outcome.FALSIFIED
    assert "lost" in finding.reason


@pytest.mark.parametrize("other", [1, 4])
def test_the_same_prompt_read_as_more_tokens_fails_though_the_answers_are_the_same(
    scripted: Any, answered: Say, other: int
) -> None:
    def reply(number: int, _case: object) -> Answered:
        usual = 9 if number < 3 else 11
        return msgspec.structs.replace(
            answered("four"), prompt_tokens=usual + 5 * (number == other)
        )

    finding = CHECKS[REPEAT](scripted(reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert "read as" in finding.reason


@pytest.mark.parametrize(("other", "named"), [(2, "greedy"), (5, "seeded")])
def test_one_other_answer_fails_and_says_which(
    scripted: Any, answered: Say, other: int, named: str
) -> None:
    cell = scripted(lambda number, _case: answered("five" if number == other else "four"))
    finding = CHECKS[REPEAT](cell)
    assert finding.outcome is Outcome.FALSIFIED
    assert finding.reason == f"answers differ: {named}"


def test_saying_nothing_each_time_is_no_stability(scripted: Any, answered: Say) -> None:
    finding = CHECKS[REPEAT](scripted(lambda *_: answered("")))
    assert finding.outcome is Outcome.FALSIFIED
    assert finding.reason == "every answer was empty"


def _growing(answered: Say, start: int, each_round: int) -> Callable[[int, object], Answered]:
    # Two probe prompts make a round.
    return lambda number, _case: answered(memory_mb=start + each_round * (number // 2))


@pytest.mark.parametrize(
    ("start", "growth", "holds"),
    [
        (50, 0, True),
        (50, -10, True),
        (50, 5, True),  # 15 MiB in three rounds; 16 are allowed
        (50, 6, False),
        (1000, 16, True),  # 48 MiB; 5 % of 1000 MiB are 50
        (1000, 17, False),
    ],
)
def test_memory_may_grow_by_the_larger_of_two_limits(
    scripted: Any, answered: Say, start: int, growth: int, holds: bool
) -> None:
    cell = scripted(_growing(answered, start, growth))
    finding = CHECKS[MEMORY](cell)
    assert finding.outcome is (Outcome.CORROBORATED if holds else Outcome.FALSIFIED)
    assert len(cell.asked) == 2 * (1 + cell.limits.memory_rounds)
    assert finding.figures["resident_mb"] == [start + growth * index for index in range(4)]


def test_what_the_first_round_allocates_is_no_growth(scripted: Any, answered: Say) -> None:
    cell = scripted(lambda number, _case: answered(memory_mb=10 if number == 0 else 500))
    assert CHECKS[MEMORY](cell).outcome is Outcome.CORROBORATED


def test_a_refused_over_long_prompt_holds(scripted: Any) -> None:
    cell = scripted(lambda *_: Refused(message="80 tokens, 16 fit"))
    finding = CHECKS[OVERFLOW](cell)
    assert finding.outcome is Outcome.CORROBORATED
    assert "80 tokens, 16 fit" in finding.reason
    assert len(cell.asked[0].turns[-1].split()) > cell.context_length


def test_an_answered_over_long_prompt_fails(scripted: Any, answered: Say) -> None:
    finding = CHECKS[OVERFLOW](scripted(lambda *_: answered(prompt_tokens=16)))
    assert finding.outcome is Outcome.FALSIFIED
    assert finding.figures["prompt_tokens"] == 16


def test_an_engine_that_breaks_on_an_over_long_prompt_fails(scripted: Any) -> None:
    finding = CHECKS[OVERFLOW](scripted(lambda *_: EngineFailed(message="decode failed")))
    assert finding.outcome is Outcome.FALSIFIED
    assert "decode failed" in finding.reason


def _recovery(scripted: Any, before: Reply, between: Reply, after: Reply) -> Any:
    replies = [before, between, after]
    playbook = playbook_of(probe_prompts=(prompt_of("first"), prompt_of("last")))
    return scripted(lambda number, _case: replies[number], playbook=playbook)


@pytest.mark.parametrize("between", [Refused(message="no"), EngineFailed(message="no")])
def test_the_same_answer_before_and_after_holds(
    scripted: Any, answered: Say, between: Reply
) -> None:
    cell = _recovery(scripted, answered("four"), between, answered("four"))
    finding = CHECKS[RECOVERY](cell)
    assert finding.outcome is Outcome.CORROBORATED
    assert finding.figures["between"] == type(between).__name__
    assert cell.asked[0] == cell.asked[2]
    assert len(cell.asked[1].turns[-1].split()) > cell.context_length


@pytest.mark.parametrize(("before", "after"), [("four", "five"), ("four", ""), (" ", " ")])
def test_another_answer_or_none_after_it_fails(
    scripted: Any, answered: Say, before: str, after: str
) -> None:
    cell = _recovery(scripted, answered(before), Refused(message="no"), answered(after))
    assert CHECKS[RECOVERY](cell).outcome is Outcome.FALSIFIED


def test_no_answer_after_it_fails(
    scripted: Any, answered: Say, no_answer: tuple[Reply, str]
) -> None:
    reply, text = no_answer
    finding = CHECKS[RECOVERY](_recovery(scripted, answered(), Refused(message="no"), reply))
    assert finding.outcome is Outcome.FALSIFIED
    assert text in finding.reason
