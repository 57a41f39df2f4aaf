"""Sections of a playbook that are accepted and not executed by this version.

They are checked as strictly as the others, and whatever a file has of them is listed in plan and
certificate as *declared, not run*: nobody shall take them for tested.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from aprqa_ci.playbook.field_types import (
    Count,
    GateIds,
    Name,
    PromptText,
    QuantizationName,
    Ratio,
    ShortText,
    Word,
    matching,
    require_known_quantizations,
)
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat, Severity
from aprqa_ci.wire import WireModel

__all__ = [
    "DECLARED_NOT_RUN",
    "ContractTests",
    "DifferentialTests",
    "FalsificationGate",
    "Fingerprint",
    "FormatValidation",
    "InferenceCompare",
    "KernelProfile",
    "MatrixEntry",
    "OllamaParity",
    "PropertyTest",
    "PropertyTests",
    "StateEntry",
    "StateMachine",
    "StateTransition",
    "StatsTolerance",
    "TensorDiff",
    "TracePayload",
    "ValidateStats",
    "VerificationTest",
    "declared_not_run",
]

DECLARED_NOT_RUN: Mapping[str, str] = MappingProxyType(
    {
        "state_machine": "what its events, actions and guards do is said nowhere",
        "trace_payload": "no engine here shows the values of its layers",
    }
)
"""Paths that this version accepts and does not execute, each with the reason. What a plan leaves
out of the sections that are executed is added when it is made."""

Numbers = Annotated[float, Meta(ge=0.0, le=1e9)]


def declared_not_run(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of :data:`DECLARED_NOT_RUN` that a regular playbook asks for.

    Args:
        data: a playbook's data, legacy spellings made regular. A section with ``enabled: false``
            and an empty list ask for nothing.
    """
    return tuple(path for path in DECLARED_NOT_RUN if _asks_for(data, path))


def _asks_for(data: Mapping[str, Any], path: str) -> bool:
    value: Any = data
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping) and value.get("enabled") is False:
            return False
    return value not in (None, [])


class PropertyTest(WireModel, frozen=True, kw_only=True):
    """One property of the answers to drawn prompts."""

    name: Name
    """What the property is called, each once. Required."""
    generator: ShortText
    """How prompts are drawn. Required."""
    oracle: ShortText
    """What must hold of each answer. Required."""
    count: Count | None = None
    """How many prompts, over all cells together. Default: the section's ``cases``."""


class PropertyTests(WireModel, frozen=True, kw_only=True):
    """Properties that hold for drawn prompts."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    cases: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """Prompts of a property that names no ``count``, 1 to 10000. Default: 100."""
    max_shrink_iters: Count | None = None
    """Declared, not run: steps to make a counterexample smaller. Default: none."""
    tests: Annotated[tuple[PropertyTest, ...], Meta(max_length=1000)] = ()
    """The properties; in the legacy shape the section is this list."""


class FalsificationGate(WireModel, frozen=True, kw_only=True):
    """A gate of the playbook's own: a condition over what was recorded."""

    id: Word
    """What the gate is called, each once; in plan and evidence ``playbook:`` stands before it.
    Required."""
    description: ShortText
    """What it asks. Required."""
    condition: ShortText
    """When it holds, in the language of conditions. Required."""
    severity: Severity = Severity.P1
    """P0: no certificate when it does not hold; P1 and P2 cost points. Default: P1."""


class StateTransition(WireModel, frozen=True, kw_only=True):
    """A step from one state to another, in either definition's words."""

    from_: Name | None = msgspec.field(name="from", default=None)
    """The state it starts in; within a state, that state."""
    to: Name | None = None
    """The state it ends in."""
    target: Name | None = None
    """The same, in the other definition."""
    event: Name | None = None
    """What sets it off."""
    action: Name | None = None
    """What is done."""
    guards: Annotated[tuple[ShortText, ...], Meta(max_length=100)] = ()
    """What must hold."""


class StateAction(WireModel, frozen=True, kw_only=True):
    """Something that is done."""

    action: Name
    """What it is. Required."""


class StateEntry(WireModel, frozen=True, kw_only=True):
    """One state."""

    on_enter: Annotated[tuple[StateAction, ...], Meta(max_length=100)] = ()
    """What is done on entering. Default: nothing."""
    on_exit: Annotated[tuple[StateAction, ...], Meta(max_length=100)] = ()
    """What is done on leaving. Default: nothing."""
    transitions: Annotated[tuple[StateTransition, ...], Meta(max_length=1000)] = ()
    """Where it leads. Default: nowhere."""


class StateMachine(WireModel, frozen=True, kw_only=True):
    """States that a run goes through, in either definition's shape."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    initial: Name | None = None
    """The first state."""
    states: (
        Annotated[tuple[Name, ...], Meta(max_length=1000)]
        | Annotated[dict[Name, StateEntry], Meta(max_length=1000)]
    ) = ()
    """The states: names, or a mapping with what happens in each."""
    transitions: Annotated[tuple[StateTransition, ...], Meta(max_length=1000)] = ()
    """The steps between named states. Default: none."""


class FormatValidation(WireModel, frozen=True, kw_only=True):
    """Checks of a file's structure."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    checks: Annotated[tuple[Name, ...], Meta(max_length=100)] = ()
    """Which tests, by name. Default: all."""
    gates: GateIds = ()
    """Which tests, by their gate ids. Default: all."""


class TensorDiff(WireModel, frozen=True, kw_only=True):
    """A comparison of tensors between formats."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    filter: ShortText | None = None
    """Which tensors, comma-separated parts of names."""
    gates: GateIds = ()
    """Which tests, by their gate ids. Default: all."""


class InferenceCompare(WireModel, frozen=True, kw_only=True):
    """A comparison of answers between formats."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    prompt: PromptText | None = None
    """What is asked."""
    max_tokens: Annotated[int, Meta(ge=1, le=100_000)] = 10
    """Tokens to compare. Default: 10."""
    tolerance: Numbers = 1e-5
    """The largest difference of a logit. Default: 1e-5."""
    gates: GateIds = ()
    """Which tests, by their gate ids. Default: all."""


class Fingerprint(WireModel, frozen=True, kw_only=True):
    """Statistics of tensors that identify a file."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    tensors: ShortText = "all"
    """Which tensors. Default: all."""
    stats: Annotated[tuple[Name, ...], Meta(max_length=100)] = (
        "mean",
        "std",
        "min",
        "max",
        "checksum",
    )
    """Names of statistics. Default: all five."""
    gates: GateIds = ()
    """Which tests, by their gate ids. Default: all."""


class StatsTolerance(WireModel, frozen=True, kw_only=True):
    """How far statistics may be from the reference, by kind of tensor."""

    layernorm: Numbers = 0.001
    """Of normalisation weights. Default: 0.001."""
    embedding: Numbers = 0.1
    """Of embeddings. Default: 0.1."""
    attention: Numbers = 0.01
    """Of attention weights. Default: 0.01."""


class ValidateStats(WireModel, frozen=True, kw_only=True):
    """A comparison of statistics with a reference file."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    reference: ShortText | None = None
    """A file of statistics, relative to the folder of the playbook; absent: the ground truth."""
    tolerance: StatsTolerance = StatsTolerance()
    """The limits."""
    gates: GateIds = ()
    """Which tests, by their gate ids. Default: all."""


class DifferentialTests(WireModel, frozen=True, kw_only=True):
    """Comparisons between files of the same model."""

    format_validation: FormatValidation | None = None
    """Structure of files."""
    tensor_diff: TensorDiff | None = None
    """Tensors between formats."""
    inference_compare: InferenceCompare | None = None
    """Answers between formats."""
    fingerprint: Fingerprint | None = None
    """Statistics that identify a file."""
    validate_stats: ValidateStats | None = None
    """Statistics against a reference."""


class TracePayload(WireModel, frozen=True, kw_only=True):
    """A trace of one answer."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    prompt: PromptText | None = None
    """What is asked."""
    gates: GateIds = ()
    """Gate ids of the existing tool. Default: none."""


class ContractTests(WireModel, frozen=True, kw_only=True):
    """Invariants of the format contract."""

    invariants: Annotated[
        tuple[
            Annotated[str, matching(r"I-[1-5]", "I-1 to I-5")],
            ...,
        ],
        Meta(max_length=5),
    ] = ("I-2", "I-3", "I-4", "I-5")
    """Names of invariants, I-1 to I-5. Default: I-2 to I-5."""


class OllamaParity(WireModel, frozen=True, kw_only=True):
    """A comparison with Ollama, or another server of the same model."""

    enabled: bool = True
    """Whether the section is asked for. Default: true."""
    model_tag: ShortText | None = None
    """The tag of the model there; the name of a quantization in it stands for that of the cell."""
    quantizations: Annotated[tuple[QuantizationName, ...], Meta(min_length=1, max_length=32)] = (
        "q4_k_m",
    )
    """Quantizations to compare. Default: q4_k_m."""
    prompts: Annotated[tuple[PromptText, ...], Meta(min_length=1, max_length=1000)] = (
        "What is 2+2?",
    )
    """What is asked. Default: one question."""
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.0
    """The sampling temperature, 0 to 2. Default: 0."""
    min_perf_ratio: Numbers = 0.8
    """The least share of its throughput. Default: 0.8."""
    gates: GateIds = ()
    """Gate ids of the existing tool; the two tests are made anyway. Default: none."""

    def __post_init__(self) -> None:
        require_known_quantizations(self.quantizations)


class KernelProfile(WireModel, frozen=True, kw_only=True):
    """What the author knows of the kernels; for readers."""

    family: Word | None = None
    """The architecture family."""
    kernel_ops: Annotated[tuple[Name, ...], Meta(max_length=1000)] = ()
    """Names of kernels. Default: none."""
    prompt_count: Count = 0
    """How many prompts were made for them. Default: 0."""
    long_context: bool = False
    """Whether long prompts were made. Default: false."""


class MatrixEntry(WireModel, frozen=True, kw_only=True):
    """One combination with a prompt of its own."""

    format: ModelFormat
    """The file format. Required."""
    backend: Backend
    """What computes. Required."""
    modality: Modality
    """How the model is asked. Required."""
    prompt: PromptText
    """What is asked. Required."""


class VerificationTest(WireModel, frozen=True, kw_only=True):
    """One prompt that is asked in each of its formats, with what is expected of the answers."""

    name: Name
    """What the expectation is called. Required."""
    type: Name | None = None
    """``differential`` compares the answers of the formats."""
    format: ModelFormat | None = None
    """The one format that it is about."""
    formats: tuple[ModelFormat, ...] | None = None
    """The formats that it is about. Default: all."""
    prompt: PromptText
    """What is asked. Required."""
    expect: ShortText | None = None
    """Text that the answer must hold."""
    tolerance: Ratio | Name | None = None
    """Of a differential test: how far answers may differ, a share; a word such as ``semantic``
    stands for what the quantizations allow."""
