"""Saying the same as the ground truth: in answers and in weights."""

from difflib import SequenceMatcher
from statistics import fmean

import msgspec

from aprqa_ci.execution.checks.open_cell import Finding, OpenCell, unanswered
from aprqa_ci.execution.protocol import Answered, WeightsCompared
from aprqa_ci.execution.result import Cause
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Outcome

__all__ = ["agreement", "agreement_class", "round_trip", "similarity"]


def similarity(answer: str, truth: str) -> float:
    """Return how alike two answers are, 0 to 1: the Ratcliff-Obershelp ratio of their words.

    Two empty answers are not alike: agreement on nothing shows nothing.
    """
    ours, theirs = answer.split(), truth.split()
    if not ours or not theirs:
        return 0.0
    return SequenceMatcher(None, ours, theirs, autojunk=False).ratio()


def agreement(cell: OpenCell) -> Finding:
    """Greedy answers are those of the ground truth, as far as the quantization allows."""
    truths = cell.ground_truth()
    if isinstance(truths, str):
        return Finding(
            outcome=Outcome.SKIPPED,
            reason=f"there is no ground truth to compare with: {truths}",
            figures={},
            cause=Cause(kind="infrastructure", word="no-ground-truth"),
        )
    ratios, answers = [], []
    for case, truth in zip(cell.playbook.probe_prompts, truths, strict=True):
        reply = cell.ask(msgspec.structs.replace(case, temperature=0.0))
        if not isinstance(reply, Answered):
            return unanswered(reply)
        answers.append(reply.text)
        ratios.append(similarity(reply.text, truth))
    kind = agreement_class(cell.cell.quantization)
    limit = cell.limits.classes[kind].agreement
    share = fmean(ratios)
    return Finding(
        outcome=Outcome.CORROBORATED if share >= limit else Outcome.FALSIFIED,
        reason=f"agreement {share:.3f} with the ground truth over {len(ratios)} answers; "
        f"the limit for {cell.cell.quantization or cell.cell.format} is {limit:g}",
        figures={"agreement": ratios, "answers": answers, "ground_truth": list(truths)},
    )


def round_trip(cell: OpenCell) -> Finding:
    """The weights are those of the ground truth, as far as the quantization allows."""
    reply = cell.compare_weights()
    if not isinstance(reply, WeightsCompared):
        return unanswered(reply)
    figures = {
        "tensors": reply.tensors,
        "worst_tensor": reply.worst_tensor,
        "worst_error": reply.worst_error,
        "exact": reply.exact,
        "requantized": reply.requantized,
        "worst_requantized": reply.worst_requantized,
        "worst_ratio": reply.worst_ratio,
        "typical_ratio": reply.typical_ratio,
    }
    if reply.tensors == 0:
        return Finding(
            outcome=Outcome.SKIPPED,
            reason=reply.reason or "no tensor could be compared",
            figures=figures,
            cause=Cause(kind="infrastructure", word="nothing-compared"),
        )
    kind = agreement_class(cell.cell.quantization)
    limit = cell.limits.classes[kind].weight_error
    error = reply.worst_error
    holds = reply.exact or (error is not None and error <= limit)
    off = "shares nothing with it" if error is None else f"is off by {error:.4f}"
    excess, beyond = _excess(cell, reply)
    return Finding(
        outcome=Outcome.CORROBORATED if holds and not beyond else Outcome.FALSIFIED,
        reason=reply.reason
        or f"{reply.tensors} tensors compared; the worst, {reply.worst_tensor}, {off}; "
        f"the limit is {limit:g}{excess}",
        figures=figures,
    )


def _excess(cell: OpenCell, reply: WeightsCompared) -> tuple[str, bool]:
    """Return how the errors compare with those of a new quantization, and whether beyond limits.

    A tensor with a wrong scale stands out; weights that were quantized before are all a little off.
    """
    worst, typical = reply.worst_ratio, reply.typical_ratio
    if worst is None or typical is None:
        return "", False
    limits = cell.limits
    said = (
        f"; over a new quantization of {reply.requantized} tensors the error is {typical:.3f} times"
        f" as large and at most {worst:.3f} times, in {reply.worst_requantized}; the limits are"
        f" {limits.excess_typical:g} and {limits.excess_worst:g}"
    )
    return said, worst > limits.excess_worst or typical > limits.excess_typical


def agreement_class(quantization: str | None) -> str:
    """Return the class whose limits hold; formats without quantization are held to ``exact``."""
    return quantization_catalogue()[quantization].agreement if quantization else "exact"
