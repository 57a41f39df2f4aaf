"""The comparison with Ollama, or any OpenAI-compatible server of the same model."""

from collections.abc import Iterator, Sequence

from aprqa_ci.gates import gates_of_section
from aprqa_ci.planning.oracle_settings import oracle_settings
from aprqa_ci.planning.plan import PlannedCell, PlannedParity
from aprqa_ci.planning.prompt_source import own_case
from aprqa_ci.planning.section_prompts import Frame
from aprqa_ci.playbook.declared import OllamaParity
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["parity_checks", "parity_not_run", "planned_parity"]

SECTION = "ollama_parity"
_SAME_TEST = {"F-OLLAMA-001": "F-COMP-OLLAMA-001"}
"""Of the existing tool's ids, those whose test is made under another: both answered."""


def parity_checks(playbook: Playbook, frame: Frame, quantization: str | None) -> tuple[str, ...]:
    """Return the gates that compare a cell; only GGUF is what the other runtime serves too.

    Args:
        playbook: the playbook.
        frame: what the cell is of.
        quantization: the cell's.
    """
    section = _section(playbook)
    fits = section is not None and quantization in section.quantizations
    if not fits or not frame.first or frame.format is not ModelFormat.GGUF:
        return ()
    return tuple(gates_of_section(SECTION).values())


def planned_parity(playbook: Playbook, cells: Sequence[PlannedCell]) -> PlannedParity | None:
    """Return what the plan says of the comparison, if any of its cells makes it."""
    section = _section(playbook)
    if section is None or not _compared(cells):
        return None
    settings = list(oracle_settings(playbook).items())
    seed = playbook.test_matrix.seed
    return PlannedParity(
        model_tag=section.model_tag,
        quantizations=tuple(section.quantizations),
        prompts=tuple(
            own_case(
                text, settings, seed=seed, suite=SECTION, temperature=section.temperature, raw=False
            )
            for text in section.prompts
        ),
        min_perf_ratio=section.min_perf_ratio,
    )


def parity_not_run(playbook: Playbook, cells: Sequence[PlannedCell]) -> Iterator[tuple[str, str]]:
    """Return what of the section the plan does not test, each with the reason."""
    section = _section(playbook)
    if section is None:
        return
    compared = _compared(cells)
    if not compared:
        yield SECTION, "this plan has no GGUF cell of its quantizations"
        return
    for name in section.quantizations:
        if name not in compared:
            yield f"{SECTION}.quantizations.{name}", "this plan has no GGUF cell of it"
    made = set(gates_of_section(SECTION).values())
    for name in section.gates:
        if _SAME_TEST.get(name, name) not in made:
            yield f"{SECTION}.gates.{name}", "no test here is called so"


def _section(playbook: Playbook) -> OllamaParity | None:
    section = playbook.ollama_parity
    return section if section is not None and section.enabled else None


def _compared(cells: Sequence[PlannedCell]) -> set[str]:
    gates = set(gates_of_section(SECTION).values())
    return {
        cell.quantization or ""
        for cell in cells
        if gates & {scenario.gate_id for scenario in cell.scenarios}
    }
