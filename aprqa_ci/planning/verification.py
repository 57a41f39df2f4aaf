"""Verification tests: which cells ask them, and what compares their answers between formats."""

from collections.abc import Iterator, Sequence

from aprqa_ci.planning.plan import PlannedCell
from aprqa_ci.playbook.declared import FalsificationGate, VerificationTest
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import ModelFormat, Severity

__all__ = ["DIFFERENTIAL", "comparisons", "tested_formats", "verification_label"]

DIFFERENTIAL = "differential"
"""The type of a verification test that compares the answers of formats."""


def verification_label(number: int | str) -> str:
    """Return what stands as the suite of a verification test's prompts; counted from 1."""
    return f"verification_tests#{number}"


def tested_formats(test: VerificationTest) -> tuple[ModelFormat, ...] | None:
    """Return the formats that the test is about; nothing is all of them."""
    if test.format is not None:
        return (test.format, *(test.formats or ()))
    return test.formats


def comparisons(
    playbook: Playbook, cells: Sequence[PlannedCell]
) -> Iterator[tuple[FalsificationGate, str]]:
    """Return a gate for each test that compares formats, with why it cannot be judged, if so.

    Args:
        playbook: the playbook.
        cells: its cells in the plan; a format compared with itself would show nothing.
    """
    for number, test in enumerate(playbook.verification_tests or (), start=1):
        if test.type != DIFFERENTIAL:
            continue
        label = verification_label(number)
        formats = {
            cell.format
            for cell in cells
            for scenario in cell.scenarios
            if scenario.prompt is not None and scenario.prompt.suite == label
        }
        condition = f"verification_agrees('{number}')"
        if isinstance(test.tolerance, float | int):
            condition = f"verification_similarity('{number}') >= {1 - test.tolerance:g}"
        gate = FalsificationGate(
            # Not a word that a playbook's own gate may be called.
            id=f"verification_tests[{number - 1}]",
            description=test.name,
            condition=condition,
            severity=Severity.P1,
        )
        # Where it is asked nowhere, that is said of the prompt.
        if formats:
            yield gate, "" if len(formats) > 1 else "it is asked in one format of this plan"
