"""The gate catalogue: what each gate id means and what it counts for."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.vocabulary import Category, Gateway, ModelFormat, Severity
from aprqa_ci.wire import WireModel

__all__ = [
    "ForeignGate",
    "Gate",
    "canonical_gate_id",
    "foreign_gates",
    "gate_catalogue",
    "gates_of_section",
    "inspect_gate_ids",
]


_OF_APR = frozenset({"G0-DIGEST-001", "G0-INTEGRITY-FINITE", "G0-TENSOR-001"})


class Gate(WireModel, frozen=True, kw_only=True):
    """One entry of the catalogue; it has either a gateway or a category."""

    id: str
    gateway: Gateway | None = None
    category: Category | None = None
    severity: Severity
    made_by: Literal["prompt", "inspect", "check", "derived"]
    """Who makes the record; see the head of ``gates.yaml``."""
    section: str | None = None
    """The section of a playbook that asks for it, and which of the section's tests it is, for
    example ``contract_tests.I-2``; absent for gates that tiers and suites ask for."""
    taken_over: bool = False
    """Whether the existing tool writes records of this id for another, weaker test. Such records
    count nowhere, as before the test was made here."""
    meaning: str
    remedy: str

    @property
    def counts_for(self) -> str:
        """The gateway or category, as text."""
        return str(self.gateway or self.category)

    @property
    def must_hold(self) -> bool:
        """Whether one failure in one cell keeps from a certificate, whatever the score.

        Measurements of severity P0 and P1 do. Answers are many, and a share of them may be wrong.
        What is derived of a category, the comparison with the last certificate, speaks of answers
        and of another day's machine: it must hold where it is of severity P0, which has room for
        both, and is left to the score otherwise.
        """
        if self.category is None:
            return False
        strict = {"check": {Severity.P0, Severity.P1}, "derived": {Severity.P0}}
        return self.severity in strict.get(self.made_by, ())


class _GateFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-gates/1"]
    gates: tuple[Gate, ...]


class ForeignGate(WireModel, frozen=True, kw_only=True):
    """A gate id of the existing tool that no test here makes; see ``foreign_gates.yaml``."""

    id: str
    same_as: str | None = None
    """The id of the same test under its one name."""
    meaning: str


class _ForeignGateFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-foreign-gates/1"]
    gates: tuple[ForeignGate, ...]


@cache
def gate_catalogue() -> dict[str, Gate]:
    """Return all gates by id, in the order of the data file."""
    return {gate.id: gate for gate in load_data("gates.yaml", _GateFile).gates}


@cache
def foreign_gates() -> dict[str, ForeignGate]:
    """Return the gate ids of the existing tool that no test here makes, by id."""
    return {gate.id: gate for gate in load_data("foreign_gates.yaml", _ForeignGateFile).gates}


def canonical_gate_id(gate_id: str) -> str:
    """Return the one id of a test that the existing tool writes under several.

    ``F-CONV-Gguf-Apr`` and ``F-CONV-G-A`` are the pass and the failure of one conversion. An id
    that has no other name, or is not known at all, is its own.
    """
    foreign = foreign_gates().get(gate_id)
    return gate_id if foreign is None or foreign.same_as is None else foreign.same_as


def gates_of_section(section: str) -> dict[str, str]:
    """Return the gate ids that a section of a playbook asks for, by the name of the test.

    Args:
        section: for example ``contract_tests`` or ``differential_tests.tensor_diff``.
    """
    return {
        test: gate.id
        for gate in gate_catalogue().values()
        if gate.section is not None
        for path, _, test in [gate.section.rpartition(".")]
        if path == section
    }


def inspect_gate_ids(format: ModelFormat) -> tuple[str, ...]:  # noqa: A002 - the word of the field
    """Return the gates that reading the files of ``format`` can judge, in catalogue order.

    APR files are not opened here: what is known of them beside their digest is what the apr tool
    says of their tensors. Only GGUF has metadata of its own that could contradict the ground
    truth's configuration.
    """
    gates = (gate.id for gate in gate_catalogue().values() if gate.made_by == "inspect")
    match format:
        case ModelFormat.GGUF:
            return tuple(gates)
        case ModelFormat.SAFETENSORS:
            return tuple(gate for gate in gates if gate != "G0-METADATA-001")
        case ModelFormat.APR:
            return tuple(gate for gate in gates if gate in _OF_APR)
