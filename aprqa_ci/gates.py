"""The gate catalogue: what each gate id means and what it counts for."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.vocabulary import Category, Gateway, ModelFormat, Severity
from aprqa_ci.wire import WireModel

__all__ = ["Gate", "gate_catalogue", "inspect_gate_ids"]


class Gate(WireModel, frozen=True, kw_only=True):
    """One entry of the catalogue; it has either a gateway or a category."""

    id: str
    gateway: Gateway | None = None
    category: Category | None = None
    severity: Severity
    made_by: Literal["prompt", "inspect", "check", "derived"]
    """Who makes the record; see the head of ``gates.yaml``."""
    meaning: str
    remedy: str

    @property
    def counts_for(self) -> str:
        """The gateway or category, as text."""
        return str(self.gateway or self.category)


class _GateFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-gates/1"]
    gates: tuple[Gate, ...]


@cache
def gate_catalogue() -> dict[str, Gate]:
    """Return all gates by id, in the order of the data file."""
    return {gate.id: gate for gate in load_data("gates.yaml", _GateFile).gates}


def inspect_gate_ids(format: ModelFormat) -> tuple[str, ...]:  # noqa: A002 - the word of the field
    """Return the gates that reading the files of ``format`` can judge, in catalogue order.

    APR files are not opened here, so nothing but their digest is known of them; only GGUF has
    metadata of its own that could contradict the ground truth's configuration.
    """
    gates = (gate.id for gate in gate_catalogue().values() if gate.made_by == "inspect")
    match format:
        case ModelFormat.GGUF:
            return tuple(gates)
        case ModelFormat.SAFETENSORS:
            return tuple(gate for gate in gates if gate != "G0-METADATA-001")
        case ModelFormat.APR:
            return tuple(gate for gate in gates if gate == "G0-DIGEST-001")
