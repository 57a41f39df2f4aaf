"""How large a model is, as far as its name tells, and what room a cell of it needs."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.planning.plan import PlannedCell, PlannedModel, PlannedPlaybook
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = [
    "PlacementFacts",
    "RoomNeeded",
    "category_of",
    "named_billions",
    "parameters_in_billions",
    "placement_facts",
    "room_needed",
    "scratch_gb",
    "size_of",
    "weights_gb",
]

_SIZE = re.compile(
    r"(?<![a-z0-9.])(?:(?P<experts>\d{1,3})x)?(?P<number>\d{1,5}(?:\.\d{1,3})?)(?P<unit>[bm])"
    r"(?![a-z0-9])",
    re.IGNORECASE,
)
_ANSWERS_COMPARED = "F-COMP-AGREE-001"
_ROUND_TRIP = "F-REGR-ROUNDTRIP-001"
_FILES_COMPARED = frozenset({_ANSWERS_COMPARED, _ROUND_TRIP, "G0-METADATA-001"})


class PlacementFacts(WireModel, frozen=True, kw_only=True):
    """See the comments of the data file."""

    schema: Literal["aprqa-placement/1"]
    size_limits: dict[SizeCategory, float]
    bits: dict[ModelFormat, float]
    file_margin_gb: float
    memory: dict[Backend, dict[ModelFormat, float]]
    truth_memory: float
    memory_base_gb: float
    vram: dict[ModelFormat, float]
    vram_base_gb: float
    disk_base_gb: float
    scratch_bits: float
    least_free_gb: float


@dataclass(frozen=True, kw_only=True)
class RoomNeeded:
    """What a machine must have for one cell, in 10^9 bytes."""

    memory_gb: float
    disk_gb: float
    vram_gb: float
    """0 for a cell of the cpu."""
    weights_gb: float
    """The cell's own weight files."""
    truth_gb: float
    """The weight files of the ground truth that it is compared with; 0 when it is not."""


@cache
def placement_facts() -> PlacementFacts:
    """Return the facts of this installation.

    Raises:
        AprqaError: the installation is damaged.
    """
    return load_data("placement.yaml", PlacementFacts)


def parameters_in_billions(model: PlannedModel) -> float:
    """Return the number of parameters: from the size variant, else the repository, else the size.

    Names are read as authors write them: ``0.5b``, ``SmolLM2-135M``, ``8x7B`` (counted as 56, since
    the experts share some weights and what is too much still fits).
    """
    for name in (model.size_variant or "", model.hf_repo):
        if (billions := named_billions(name)) is not None:
            return billions
    return placement_facts().size_limits[model.size_category]


def named_billions(name: str) -> float | None:
    """Return the number of parameters that a size variant or a repository's name tells, if any."""
    sizes = [
        int(found["experts"] or 1)
        * float(found["number"])
        / (1 if found["unit"].lower() == "b" else 1000)
        for found in _SIZE.finditer(name.rpartition("/")[2])
    ]
    return max(sizes) if any(sizes) else None


def size_of(model: PlannedModel) -> SizeCategory:
    """Return the size category that the number of parameters says.

    Playbooks for quick looks call large models tiny; what a model takes does not follow that.
    """
    return category_of(parameters_in_billions(model))


def category_of(billions: float) -> SizeCategory:
    """Return the size category of a model with so many billions of parameters."""
    for category, limit in placement_facts().size_limits.items():
        if billions <= limit:
            return category
    return SizeCategory.HUGE


def weights_gb(model: PlannedModel, format_: ModelFormat, quantization: str | None) -> float:
    """Return the size of the weight files of one variant, in 10^9 bytes."""
    facts = placement_facts()
    if format_ is ModelFormat.GGUF and quantization is not None:
        bits = quantization_catalogue()[quantization].bits_per_weight
    else:
        # A GGUF file without a name for its precision may have the full one.
        bits = facts.bits.get(format_, max(facts.bits.values()))
    return parameters_in_billions(model) * bits / 8 + facts.file_margin_gb


def scratch_gb(cell: PlannedCell, playbook: PlannedPlaybook) -> float:
    """Return the disk that the cell writes for a while, in 10^9 bytes.

    Weights whose originals are at hand are compared with those; the others are converted.
    """
    truth = playbook.ground_truth
    compared = truth is not None and truth.format is ModelFormat.SAFETENSORS
    if not any(scenario.gate_id == _ROUND_TRIP for scenario in cell.scenarios):
        return 0.0
    if cell.format is ModelFormat.GGUF and compared:
        return 0.0
    return parameters_in_billions(playbook.model) * placement_facts().scratch_bits / 8


def room_needed(cell: PlannedCell, playbook: PlannedPlaybook) -> RoomNeeded:
    """Return what a machine must have for the cell and for what it is compared with."""
    facts, model, truth = placement_facts(), playbook.model, playbook.ground_truth
    own = weights_gb(model, cell.format, cell.quantization)
    gates = {scenario.gate_id for scenario in cell.scenarios}
    memory = facts.memory_base_gb + own * facts.memory[cell.backend][cell.format]
    beside = 0.0
    if truth is not None and not gates.isdisjoint(_FILES_COMPARED):
        compared = weights_gb(model, truth.format, truth.quantization)
        if (truth.format, truth.quantization) != (cell.format, cell.quantization):
            beside = compared
        if _ANSWERS_COMPARED in gates:
            memory += compared * facts.truth_memory
    return RoomNeeded(
        memory_gb=memory,
        disk_gb=facts.disk_base_gb + own + beside + scratch_gb(cell, playbook),
        vram_gb=facts.vram_base_gb + own * facts.vram[cell.format]
        if cell.backend is Backend.GPU
        else 0.0,
        weights_gb=own,
        truth_gb=beside,
    )
