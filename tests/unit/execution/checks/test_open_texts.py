"""Open texts: drawing, memories of other texts, and answers that are cut."""

from collections.abc import Callable
from typing import Any

import pytest

from aprqa_ci.execution.checks.open_texts import ask_open_texts
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.lost_session import LostSessionError
from aprqa_ci.execution.protocol import Answered, Reply
from aprqa_ci.execution.result import Cause
from aprqa_ci.planning.plan import PromptCase

Say = Callable[..., Answered]
TEXTS = load_limits().open_texts
COUNT = len(TEXTS)


def going_on(answered: Say) -> Callable[[int, PromptCase], Answered]:
    """A model that goes on and on, each text in its own way."""

    def reply(_number: int, case: PromptCase) -> Answered:
        return answered(f"and {case.turns[0]}", completion_tokens=case.max_tokens, finish="length")

    return reply


def test_each_text_is_asked_twice_after_another_one(scripted: Any, answered: Say) -> None:
    cell = scripted(going_on(answered))
    seen = ask_open_texts(cell)
    assert seen.problem == ""
    assert seen.unanswered is None
    asked = [case.turns[0] for case in cell.asked]
    assert asked == [*TEXTS, *reversed(TEXTS)]
    assert {(case.raw, case.temperature, case.system) for case in cell.asked} == {(True, 0.0, None)}
    assert {case.max_tokens for case in cell.asked} == {cell.limits.open_tokens}
    # But for the one that is last and first again, the text before is another one.
    before = [{asked[at - 1] for at, each in enumerate(asked) if each == text} for text in TEXTS]
    assert sum(len(each) > 1 for each in before) >= COUNT - 1


@pytest.mark.parametrize("others", [0, 1, 2, COUNT])
def test_continuations_that_are_drawn_differ(scripted: Any, answered: Say, others: int) -> None:
    usual = going_on(answered)

    def reply(number: int, case: PromptCase) -> Answered:
        if number >= COUNT and case.turns[0] in TEXTS[:others]:
            return answered(f"{number}", finish="length")
        return usual(number, case)

    seen = ask_open_texts(scripted(reply))
    allowed = load_limits().open_differing
    assert bool(seen.problem) == (others > allowed)
    if seen.problem:
        assert seen.problem.startswith(f"{others} of {COUNT} open texts")
        assert seen.figures["open_texts"]


def test_a_text_that_is_read_as_other_tokens_brought_something_along(
    scripted: Any, answered: Say
) -> None:
    seen = ask_open_texts(
        scripted(lambda number, _case: answered("so", prompt_tokens=9 + (number == COUNT + 2)))
    )
    assert "read as 9 and 10 tokens after other texts" in seen.problem


def cut(answered: Say, tokens: int, *, finish: str = "stop") -> Callable[..., Answered]:
    def reply(_number: int, _case: PromptCase) -> Answered:
        return answered(" and so on", completion_tokens=tokens, finish=finish)

    return reply


def test_answers_that_are_cut_go_on(scripted: Any, answered: Say) -> None:
    cell = scripted(cut(answered, 7))
    seen = ask_open_texts(cell)
    assert f"{COUNT} answers were said to have ended after 7 tokens" in seen.problem
    assert [case.turns[0] for case in cell.asked[2 * COUNT :]] == [
        f"{text} and so on" for text in TEXTS
    ]


def test_answers_at_the_limit_or_said_to_be_cut_are_not_asked_on(
    scripted: Any, answered: Say
) -> None:
    for reply in (cut(answered, load_limits().open_tokens), cut(answered, 7, finish="length")):
        cell = scripted(reply)
        assert ask_open_texts(cell).problem == ""
        assert len(cell.asked) == 2 * COUNT


def test_answers_that_ended_have_ended(scripted: Any, answered: Say) -> None:
    def reply(number: int, _case: PromptCase) -> Answered:
        return answered("" if number >= 2 * COUNT else " the end.", completion_tokens=7)

    assert ask_open_texts(scripted(reply)).problem == ""


@pytest.mark.parametrize(("longer", "problem"), [(0, True), (1, False)])
def test_answers_of_several_lengths_are_not_cut(
    scripted: Any, answered: Say, longer: int, problem: bool
) -> None:
    """One longer answer shows that there is no limit of tokens; that one may go on."""

    def reply(_number: int, case: PromptCase) -> Answered:
        tokens = 7 + (case.turns[0] in TEXTS[:longer])
        return answered(" and so on", completion_tokens=tokens)

    assert bool(ask_open_texts(scripted(reply)).problem) == problem


def test_empty_answers_are_not_asked_on(scripted: Any, answered: Say) -> None:
    cell = scripted(lambda *_: answered("", completion_tokens=0))
    assert ask_open_texts(cell).problem == ""
    assert len(cell.asked) == 2 * COUNT


@pytest.mark.parametrize("at", [0, COUNT, 2 * COUNT])
def test_a_text_without_answer_ends_it(
    scripted: Any, answered: Say, no_answer: tuple[Reply, str], at: int
) -> None:
    reply, text = no_answer
    cell = scripted(lambda number, case: reply if number == at else cut(answered, 7)(number, case))
    seen = ask_open_texts(cell)
    assert seen.unanswered is not None
    assert text in seen.unanswered.reason
    assert len(cell.asked) == at + 1


def test_where_text_is_not_continued_messages_are_sent(scripted: Any, answered: Say) -> None:
    def reply(number: int, case: PromptCase) -> Answered:
        if case.raw:
            raise LostSessionError(Cause(kind="infrastructure", word="not-offered"), "no")
        return cut(answered, 7)(number, case)

    cell = scripted(reply)
    # Nothing can be put to the model again: it takes no text.
    assert ask_open_texts(cell).problem == ""
    assert [case.raw for case in cell.asked] == [True] + [False] * (2 * COUNT)


@pytest.mark.parametrize(("kind", "word"), [("infrastructure", "engine-missing"), ("model", "x")])
def test_another_loss_is_one(scripted: Any, kind: Any, word: str) -> None:
    def reply(_number: int, _case: PromptCase) -> Answered:
        raise LostSessionError(Cause(kind=kind, word=word), "no")

    with pytest.raises(LostSessionError):
        ask_open_texts(scripted(reply))
