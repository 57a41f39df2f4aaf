"""Saying the same as another file of the model: the ground truth, or one converted from this."""

import re
from collections.abc import Sequence
from statistics import fmean

import msgspec

from aprqa_ci.execution.checks.comparison import agreement_class, similarity
from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.protocol import Answered
from aprqa_ci.execution.result import Cause
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.plan import OracleSpec, PromptCase
from aprqa_ci.vocabulary import Backend, ModelFormat, Outcome

__all__ = ["golden_rule", "no_padding", "same_answer"]

_PADDING = re.compile(r"<pad>|\[PAD\d*\]|<\|endoftext\|>|<\|pad\|>|</s>|<unk>|\x00", re.IGNORECASE)
_MOST_PADDING = 0.3
"""The largest share of an answer's tokens that may be padding; the share that one token may have in
an answer that is not garbage."""


def golden_rule(cell: OpenCell) -> Finding:
    """I-1: the model answers as the file that was converted from it does."""
    cases = [msgspec.structs.replace(each, temperature=0.0) for each in cell.playbook.probe_prompts]
    return _compared(cell, cases, cell.files.converted_answers(cases), "the converted file")


def same_answer(cell: OpenCell) -> Finding:
    """INF-001: the answer to the section's prompt is the ground truth's.

    The ground truth itself is compared with the file converted from it: with itself it would always
    agree.
    """
    cases = [_case(cell)]
    if _is_ground_truth(cell):
        return _compared(cell, cases, cell.files.converted_answers(cases), "the converted file")
    return _compared(cell, cases, cell.files.truth_answers(cases), "the ground truth")


def no_padding(cell: OpenCell) -> Finding:
    """INF-003: the answer to the section's prompt is text and no flood of padding."""
    reply = cell.ask(_case(cell))
    if not isinstance(reply, Answered):
        return unanswered(reply)
    padding = len(_PADDING.findall(reply.text))
    words = _PADDING.sub("", reply.text).strip()
    figures = {"answer": reply.text, "tokens": reply.completion_tokens, "padding": padding}
    if not words or not reply.completion_tokens:
        reason = f"{reply.completion_tokens} tokens and no text but padding"
        return Finding(outcome=Outcome.FALSIFIED, reason=reason, figures=figures)
    flooded = padding > _MOST_PADDING * reply.completion_tokens
    return Finding(
        outcome=Outcome.FALSIFIED if flooded else Outcome.CORROBORATED,
        reason=f"{padding} of {reply.completion_tokens} tokens are padding; at most "
        f"{_MOST_PADDING:.0%} may be",
        figures=figures,
    )


def _case(cell: OpenCell) -> PromptCase:
    settings = cell.playbook.comparisons or Comparisons()
    return PromptCase(
        turns=(settings.prompt,),
        oracle=OracleSpec(kind="response"),
        max_tokens=settings.max_tokens,
        seed=cell.playbook.seed,
    )


def _is_ground_truth(cell: OpenCell) -> bool:
    """Whether the ground truth's answers would be those of this very file and engine."""
    truth, own = cell.playbook.ground_truth, cell.cell
    if truth is None or (truth.format, truth.quantization) != (own.format, own.quantization):
        return False
    by_itself = own.format is ModelFormat.SAFETENSORS or own.engine == "reference"
    return own.backend is Backend.CPU and by_itself


def _compared(
    cell: OpenCell,
    cases: Sequence[PromptCase],
    theirs: tuple[Answered, ...] | str,
    what: str,
) -> Finding:
    if isinstance(theirs, str):
        return Finding(
            outcome=Outcome.SKIPPED,
            reason=f"{what} gives no answer to compare with: {theirs}",
            figures={},
            cause=Cause(kind="infrastructure", word="no-counterpart"),
        )
    ours: list[Answered] = []
    for case in cases:
        reply = cell.ask(case)
        if not isinstance(reply, Answered):
            return unanswered(reply)
        ours.append(reply)
    ratios = [similarity(one.text, other.text) for one, other in zip(ours, theirs, strict=True)]
    kind = agreement_class(cell.cell.quantization)
    limit = cell.limits.classes[kind].agreement
    tokens = sum(each.completion_tokens for each in ours)
    empty = sum(not one.text.strip() for one in (*ours, *theirs))
    # Agreement on nothing shows nothing, however high the mean of the others.
    holds = fmean(ratios) >= limit and tokens > 0 and not empty
    reason = (
        f"{len(ratios)} answers of {tokens} tokens agree to {fmean(ratios):.3f} with {what}; "
        f"the limit for {cell.cell.quantization or cell.cell.format} is {limit:g}"
    )
    if empty:
        reason += f"; {empty} answers are empty"
    return Finding(
        outcome=Outcome.CORROBORATED if holds else Outcome.FALSIFIED,
        reason=reason,
        figures={
            "agreement": ratios,
            "tokens": [each.completion_tokens for each in ours],
            "answers": [each.text for each in ours],
            "compared_with": [each.text for each in theirs],
            "first_difference": [
                _first_difference(one.text, other.text)
                for one, other in zip(ours, theirs, strict=True)
            ],
        },
    )


def _first_difference(ours: str, theirs: str) -> int | None:
    """Return the first character that differs, or nothing where none does."""
    if ours == theirs:
        return None
    pairs = zip(ours, theirs, strict=False)
    return next(
        (place for place, (one, other) in enumerate(pairs) if one != other),
        min(len(ours), len(theirs)),
    )
