"""Whether the formats gave the same answer to a verification test."""

from collections.abc import Iterator

from aprqa_ci.planning.verification import verification_label
from aprqa_ci.playbook.conditions.evaluation import Missing, Value
from aprqa_ci.scoring.agreement import mean_similarity, required_agreement
from aprqa_ci.scoring.recorded_facts import CellView, RunView, ScenarioView
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["verification_agrees", "verification_similarity"]


def verification_agrees(run: RunView, number: str) -> Value:
    """Say whether every format's answer agrees with the ground truth's, as quantization allows.

    Args:
        run: the run.
        number: the test's, counted from 1.
    """
    pairs = _pairs(run, number)
    if isinstance(pairs, Missing):
        return pairs
    return all(
        mean_similarity([ours], [theirs]) >= required_agreement(*quantizations)
        for ours, theirs, quantizations in pairs
    )


def verification_similarity(run: RunView, number: str) -> Value:
    """Return the least similarity of a format's answer to the ground truth's, 0 to 1."""
    pairs = _pairs(run, number)
    if isinstance(pairs, Missing):
        return pairs
    return min(mean_similarity([ours], [theirs]) for ours, theirs, _ in pairs)


def _pairs(
    run: RunView, number: str
) -> list[tuple[str, str, tuple[str | None, str | None]]] | Missing:
    """Return each answer with the ground truth's on the same backend.

    The ground truth is the SafeTensors cell, else the first that asks the test. A cell is never
    compared with another of its own format.
    """
    asked = list(_asked(run, verification_label(number)))
    untried = next((view.scenario.id for _, view in asked if not view.tried), None)
    if untried is not None:
        return Missing(what=untried)
    pairs = []
    for backend in {cell.cell.backend for cell, _ in asked}:
        here = [entry for entry in asked if entry[0].cell.backend is backend]
        truth = min(here, key=lambda entry: entry[0].cell.format is not ModelFormat.SAFETENSORS)
        for entry in here:
            if entry[0].cell.format is not truth[0].cell.format:
                quantizations = (entry[0].cell.quantization, truth[0].cell.quantization)
                pairs.append((_answer(entry[1]), _answer(truth[1]), quantizations))
    return pairs or Missing(what="answers of two formats")


def _asked(run: RunView, label: str) -> Iterator[tuple[CellView, ScenarioView]]:
    for cell in run.views:
        for view in cell.prompts():
            prompt = view.scenario.prompt
            if prompt is not None and prompt.suite == label:
                yield cell, view


def _answer(view: ScenarioView) -> str:
    return "" if view.record is None else view.record.output
