"""Texts whose continuation is uncertain, asked twice and after one another in another order.

A model that is sure of an answer gives it whatever the engine does. Where it is not, drawing shows
though the likeliest is asked for, and so does what an engine remembers of the text before. And an
answer that is said to have ended must have: put to the model again, it is not gone on with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.lost_session import LostSessionError
from aprqa_ci.execution.protocol import Answered, Reply
from aprqa_ci.planning.plan import PromptCase

__all__ = ["OpenTexts", "ask_open_texts"]

_NOT_OFFERED = "infrastructure:not-offered"


@dataclass(frozen=True, kw_only=True)
class OpenTexts:
    """What was seen."""

    problem: str = ""
    figures: Mapping[str, object] = field(default_factory=dict)
    unanswered: Finding | None = None
    """Of a text that was not answered: what that comes to."""


def ask_open_texts(cell: OpenCell) -> OpenTexts:
    """Ask every text, then every text again in the other order, greedy, and compare."""
    limits = cell.limits
    case = msgspec.structs.replace(
        cell.playbook.probe_prompts[0],
        system=None,
        raw=True,
        max_tokens=limits.open_tokens,
        temperature=0.0,
    )
    rounds: list[dict[str, Answered]] = [{}, {}]
    for answers, texts in zip(rounds, (limits.open_texts, limits.open_texts[::-1]), strict=True):
        for text in texts:
            case = msgspec.structs.replace(case, turns=(text,))
            try:
                reply = cell.ask(case)
            except LostSessionError as error:
                if str(error.cause) != _NOT_OFFERED or not case.raw:
                    raise
                # Not every engine continues text; all of them take messages.
                case = msgspec.structs.replace(case, raw=False)
                reply = cell.ask(case)
            if not isinstance(reply, Answered):
                return OpenTexts(unanswered=unanswered(reply))
            answers[text] = reply
    first, second = rounds
    figures: dict[str, object] = {
        "open_texts": {text: [first[text].text, second[text].text] for text in limits.open_texts}
    }
    lengths = [text for text in first if first[text].prompt_tokens != second[text].prompt_tokens]
    if lengths:
        counts = " and ".join(str(each[lengths[0]].prompt_tokens) for each in rounds)
        return OpenTexts(
            problem=f"the same text was read as {counts} tokens after other texts: something of"
            " them came with it",
            figures=figures,
        )
    differing = [text for text in first if first[text].text != second[text].text]
    if len(differing) > limits.open_differing:
        return OpenTexts(
            problem=f"{len(differing)} of {len(first)} open texts are continued in another way"
            f" after other texts; {limits.open_differing} may be, for rounding",
            figures=figures,
        )
    if not case.raw:
        return OpenTexts(figures=figures)
    return _ended(cell, case, first, figures)


def _ended(
    cell: OpenCell,
    case: PromptCase,
    answers: Mapping[str, Answered],
    figures: dict[str, object],
) -> OpenTexts:
    """Ask the longest answers on, where they are said to have ended before the limit.

    Answers that are cut are all of one length, and no other is longer. A single one may go on: its
    text can become other tokens than those that it was made of.
    """
    longest = max(answer.completion_tokens for answer in answers.values())
    stopped = {
        text: answer
        for text, answer in answers.items()
        if answer.completion_tokens == longest and answer.finish == "stop"
    }
    if not 0 < longest < case.max_tokens or len(stopped) < 2:
        return OpenTexts(figures=figures)
    went_on: list[str] = []
    for text, answer in stopped.items():
        reply: Reply = cell.ask(msgspec.structs.replace(case, turns=(text + answer.text,)))
        if not isinstance(reply, Answered):
            return OpenTexts(unanswered=unanswered(reply))
        if reply.text.strip():
            went_on.append(reply.text)
    if len(went_on) < 2:
        return OpenTexts(figures=figures)
    return OpenTexts(
        problem=f"{len(went_on)} answers were said to have ended after {longest} tokens, and go on"
        " when they are put to the model again: answers are cut",
        figures=figures | {"went_on": went_on},
    )
