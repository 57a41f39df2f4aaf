"""The prompts that sections of a playbook ask for in cells of their own choice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aprqa_ci.planning.oracle_settings import oracle_settings
from aprqa_ci.planning.plan import OracleSpec, PlannedCell, PromptCase
from aprqa_ci.planning.prompt_source import own_case, quality_gate
from aprqa_ci.planning.property_prompts import PropertyPrompts, properties_not_run, property_label
from aprqa_ci.planning.verification import DIFFERENTIAL, tested_formats, verification_label
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

__all__ = ["Frame", "SectionPrompts", "sections_not_run"]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A cell before it has scenarios."""

    modality: Modality
    backend: Backend
    format: ModelFormat
    first: bool
    """Whether it is the first modality of its backend, format and quantization."""


class SectionPrompts:
    """Deals what ``mvp_matrix``, ``verification_tests`` and ``property_tests`` ask for."""

    def __init__(self, playbook: Playbook, cells: int) -> None:
        self._playbook = playbook
        self._settings = list(oracle_settings(playbook).items())
        self._properties = PropertyPrompts(playbook, cells)

    def of_cell(self, index: int, frame: Frame) -> list[tuple[str, PromptCase]]:
        """Return the prompts of one cell, each with the gate that its answer counts for.

        Args:
            index: the cell's place among the playbook's cells.
            frame: what the cell is of.
        """
        gate = quality_gate(frame.modality, frame.backend)
        cases = [
            *self._matrix(frame),
            *self._verification(frame),
            *self._properties.of_cell(index, frame.modality),
        ]
        return [(gate, case) for case in cases]

    def _matrix(self, frame: Frame) -> Iterator[PromptCase]:
        place = (frame.modality, frame.backend, frame.format)
        for number, entry in enumerate(self._playbook.mvp_matrix or (), start=1):
            if (entry.modality, entry.backend, entry.format) == place:
                yield self._case(entry.prompt, _matrix_label(number))

    def _verification(self, frame: Frame) -> Iterator[PromptCase]:
        if not frame.first:
            return
        for number, test in enumerate(self._playbook.verification_tests or (), start=1):
            formats = tested_formats(test)
            if formats is None or frame.format in formats:
                case = self._case(test.prompt, verification_label(number))
                if test.expect is not None:
                    expected = OracleSpec(kind="contains", config={"all": [test.expect]})
                    case = msgspec.structs.replace(case, oracle=expected)
                yield case

    def _case(self, text: str, label: str) -> PromptCase:
        settings: Sequence[tuple[str, Mapping[str, Any]]] = self._settings
        return own_case(text, settings, seed=self._playbook.test_matrix.seed, suite=label)


def sections_not_run(playbook: Playbook, cells: Sequence[PlannedCell]) -> Iterator[tuple[str, str]]:
    """Return what of the sections the plan does not test, each with the reason.

    Args:
        playbook: the playbook.
        cells: its cells in the plan.
    """
    asked = {
        scenario.prompt.suite
        for cell in cells
        for scenario in cell.scenarios
        if scenario.prompt is not None
    }
    for number, entry in enumerate(playbook.mvp_matrix or (), start=1):
        if _matrix_label(number) not in asked:
            place = f"{entry.modality}-{entry.backend}-{entry.format}"
            yield f"mvp_matrix[{number - 1}]", f"this plan has no cell {place}"
    for number, test in enumerate(playbook.verification_tests or (), start=1):
        where = f"verification_tests[{number - 1}]"
        if verification_label(number) not in asked:
            yield where, "this plan has no cell of its formats"
        elif test.type not in {None, DIFFERENTIAL}:
            yield f"{where}.type", f"a test of type {test.type} is asked like any other"
        elif test.tolerance is not None and test.type != DIFFERENTIAL:
            yield f"{where}.tolerance", f"only a {DIFFERENTIAL} test has one"
    yield from properties_not_run(playbook)
    section = playbook.property_tests
    known = {path for path, _ in properties_not_run(playbook)}
    for property_test in section.tests if section is not None and section.enabled else ():
        where = f"property_tests.{property_test.name}"
        unasked = property_label(property_test.name) not in asked
        if unasked and property_test.count != 0 and where not in known:
            yield where, "no cell of this plan has a prompt for it"


def _matrix_label(number: int) -> str:
    return f"mvp_matrix#{number}"
