"""The playbook: what is to be certified, and how hard it is to be tried.

Every field of the format of the field is here, in the union of its two definitions, the published
schema and the loader of the existing tool. The defaults stand here and nowhere else. Legacy
spellings are made regular before a file comes here (:mod:`aprqa_ci.playbook.legacy`).
"""

from typing import Annotated

from msgspec import Meta

from aprqa_ci.playbook.declared import (
    ContractTests,
    DifferentialTests,
    FalsificationGate,
    KernelProfile,
    MatrixEntry,
    OllamaParity,
    PropertyTests,
    StateMachine,
    TracePayload,
    VerificationTest,
)
from aprqa_ci.playbook.field_types import (
    Distinct,
    GateIds,
    Milliseconds,
    PromptText,
    QuantizationName,
    Ratio,
    Word,
    matching,
    require_distinct,
    require_known_quantizations,
)
from aprqa_ci.vocabulary import Backend, FailurePolicy, Modality, ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = [
    "ArithmeticConfig",
    "ArithmeticOracle",
    "CodeSyntaxConfig",
    "CodeSyntaxOracle",
    "CompositeConfig",
    "CompositeOracle",
    "GarbageConfig",
    "GarbageOracle",
    "GateSwitches",
    "MetadataValue",
    "ModelSpec",
    "Oracle",
    "Playbook",
    "ProfileAssertions",
    "ProfileCi",
    "ResponseConfig",
    "ResponseOracle",
    "TestMatrix",
]

Dimension = Annotated[int, Meta(ge=1, le=(1 << 32) - 1)]
Scalar = str | int | float | bool | None
MetadataValue = Scalar | tuple[Scalar, ...]
Throughput = Annotated[float, Meta(ge=0.0, le=1e9)]

# The look-ahead refuses `.` and `..`, which would lead elsewhere as the name of a folder.
_HF_REPO = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,95}/(?!\.{1,2}$)[A-Za-z0-9._-]{1,96}"


class ModelSpec(WireModel, frozen=True, kw_only=True):
    """The model under test."""

    hf_repo: Annotated[
        str,
        matching(_HF_REPO, "a repository, org/name, each of at most 96 of A-Z a-z 0-9 . _ -"),
    ]
    """The repository that names the model, and under which it is looked for. Required."""
    revision: (
        Annotated[
            str,
            matching(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,127}", "a commit, branch or tag"),
        ]
        | None
    ) = None
    """The commit, branch or tag to take from the cache. Default: ``main``."""
    local_path: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    """A file or folder with the weights, relative to the folder of the playbook; looked at first.
    Default: none."""
    formats: Annotated[tuple[ModelFormat, ...], Meta(min_length=1, extra_json_schema=Distinct)] = (
        ModelFormat.SAFETENSORS,
        ModelFormat.APR,
        ModelFormat.GGUF,
    )
    """The file formats to be tested; a tier may take only the first ones. Default: all three."""
    quantizations: Annotated[
        tuple[QuantizationName, ...],
        Meta(min_length=1, max_length=32, extra_json_schema=Distinct),
    ] = ("q4_k_m",)
    """The quantizations of the GGUF format to be tested, by the names of ``quantizations.yaml``.
    Default: ``q4_k_m``."""
    size_category: SizeCategory = SizeCategory.TINY
    """The coarse size; the default performance limits depend on it. Default: ``tiny``, the
    category with the strictest limits."""
    family: Word | None = None
    """The architecture family, for example ``qwen2``. Default: none."""
    size_variant: Word | None = None
    """The size within the family as text, for example ``"0.5b"``. Default: none."""
    expected_hidden_dim: Dimension | None = None
    """The hidden size that ``config.json`` must have. Default: not compared."""
    expected_num_layers: Dimension | None = None
    """The number of layers that it must have. Default: not compared."""
    expected_num_heads: Dimension | None = None
    """The number of attention heads that it must have. Default: not compared."""
    expected_num_kv_heads: Dimension | None = None
    """The number of key/value heads that it must have. Default: not compared."""
    expected_vocab_size: Dimension | None = None
    """The vocabulary size that it must have. Default: not compared."""
    expected_intermediate_dim: Dimension | None = None
    """The feed-forward size that it must have. Default: not compared."""

    def __post_init__(self) -> None:
        require_distinct("formats", self.formats)
        require_distinct("quantizations", self.quantizations)
        require_known_quantizations(self.quantizations)


class TestMatrix(WireModel, frozen=True, kw_only=True):
    """The dimensions of the test, and how much of each."""

    __test__ = False  # the name is the format's; pytest is not to collect it

    modalities: Annotated[tuple[Modality, ...], Meta(min_length=1, extra_json_schema=Distinct)] = (
        Modality.RUN,
        Modality.CHAT,
        Modality.SERVE,
    )
    """How the model is asked. Default: all three."""
    backends: Annotated[tuple[Backend, ...], Meta(min_length=1, extra_json_schema=Distinct)] = (
        Backend.CPU,
        Backend.GPU,
    )
    """What computes. Default: both."""
    scenario_count: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Prompts per cell, 1 to 1000; a tier raises it and never lowers it. Default: 100."""
    prompts: (
        Annotated[
            tuple[PromptText, ...],
            Meta(min_length=1, max_length=1000),
        ]
        | None
    ) = None
    """The playbook's own prompts, cycled over the whole matrix. Default: prompts of the suites."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 0
    """What everything random is drawn from, 0 to 2^63-1. Default: 0."""
    timeout_ms: Annotated[int, Meta(ge=1000, le=3_600_000)] = 60_000
    """The hard limit of one scenario in milliseconds, 1000 to 3600000. Default: 60000."""

    def __post_init__(self) -> None:
        require_distinct("modalities", self.modalities)
        require_distinct("backends", self.backends)


class GateSwitches(WireModel, frozen=True, kw_only=True):
    """The gateways, as the format lists them; one that is off bars a certificate.

    It is tested all the same and never passed.
    """

    g1_model_loads: bool = True
    """Gateway G1. Default: true."""
    g2_basic_inference: bool = True
    """Gateway G2. Default: true."""
    g3_no_crashes: bool = True
    """Gateway G3. Default: true."""
    g4_output_quality: bool = True
    """Gateway G4. Default: true."""


class ArithmeticConfig(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the arithmetic oracle."""

    tolerance: Annotated[float, Meta(ge=0.0, lt=1.0)] | None = None
    """How far a decimal fraction may be from the result, relative; whole numbers are right or
    wrong. Default: the oracle's own."""


class GarbageConfig(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the garbage oracle."""

    max_repetition_ratio: Ratio | None = None
    """The largest share of an answer that may be repetition, 0 to 1. Default: the oracle's own."""
    min_unique_chars: Annotated[int, Meta(ge=0, le=1000)] | None = None
    """The fewest different characters of a long answer. Default: the oracle's own."""


class CodeSyntaxConfig(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the code oracle."""

    languages: (
        Annotated[
            tuple[
                Annotated[str, matching(r"[a-z0-9+#-]{1,32}", "a language in lower case")],
                ...,
            ],
            Meta(min_length=1, max_length=64, extra_json_schema=Distinct),
        ]
        | None
    ) = None
    """The languages an answer may be written in. Default: that of the prompt."""

    def __post_init__(self) -> None:
        require_distinct("languages", self.languages)


class ResponseConfig(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the response oracle."""

    min_relevance: Ratio | None = None
    """The least relevance of an answer to its prompt, 0 to 1. Default: the oracle's own."""


class CompositeConfig(WireModel, frozen=True, kw_only=True, omit_defaults=True):
    """Settings of the composite oracle: it has none."""


class ArithmeticOracle(WireModel, frozen=True, kw_only=True, tag_field="type", tag="arithmetic"):
    """Compares the result of the expression in the prompt with the answer."""

    config: ArithmeticConfig = ArithmeticConfig()
    """Its settings. Default: its own."""


class GarbageOracle(WireModel, frozen=True, kw_only=True, tag_field="type", tag="garbage"):
    """Finds answers that are no language."""

    config: GarbageConfig = GarbageConfig()
    """Its settings. Default: its own."""


class CodeSyntaxOracle(WireModel, frozen=True, kw_only=True, tag_field="type", tag="code_syntax"):
    """Parses the code of an answer."""

    config: CodeSyntaxConfig = CodeSyntaxConfig()
    """Its settings. Default: its own."""


class ResponseOracle(WireModel, frozen=True, kw_only=True, tag_field="type", tag="response"):
    """Asks that an answer is there, is no echo, and has to do with the prompt."""

    config: ResponseConfig = ResponseConfig()
    """Its settings. Default: its own."""


class CompositeOracle(WireModel, frozen=True, kw_only=True, tag_field="type", tag="composite"):
    """All other oracles together, each with its settings."""

    config: CompositeConfig = CompositeConfig()
    """Its settings. Default: its own."""


Oracle = ArithmeticOracle | GarbageOracle | CodeSyntaxOracle | ResponseOracle | CompositeOracle


class ProfileAssertions(WireModel, frozen=True, kw_only=True):
    """The limits of the performance gates; where one is absent, that of the size holds."""

    min_throughput: Throughput | None = None
    """The least throughput on every backend, tokens per second. Default: by size."""
    min_throughput_cpu: Throughput | None = None
    """The least throughput on cpu, tokens per second; stronger than the one above."""
    min_throughput_gpu: Throughput | None = None
    """The least throughput on gpu, tokens per second; stronger than the one above."""
    max_p99_ms: Milliseconds | None = None
    """The largest 99th percentile of the answer times, milliseconds. Default: by size."""
    max_p50_ms: Milliseconds | None = None
    """The largest median of the answer times, milliseconds. Default: by size."""
    max_ttft_ms: Milliseconds | None = None
    """The largest time to the first token, milliseconds. Default: by size."""


class ProfileCi(WireModel, frozen=True, kw_only=True):
    """How performance is measured and what it must reach."""

    enabled: bool = True
    """Whether the section holds. Default: true."""
    warmup: Annotated[int, Meta(ge=0, le=100)] = 1
    """Unmeasured runs before a measurement, 0 to 100. Default: 1."""
    measure: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Measured runs of a measurement, 1 to 1000. Default: 5."""
    formats: Annotated[tuple[ModelFormat, ...], Meta(extra_json_schema=Distinct)] | None = None
    """The formats that the limits hold for; the others are held to those of the size. Default:
    all."""
    backends: Annotated[tuple[Backend, ...], Meta(min_length=1, extra_json_schema=Distinct)] = (
        Backend.CPU,
        Backend.GPU,
    )
    """The backends that the limits hold for. Default: both."""
    assertions: ProfileAssertions = ProfileAssertions()
    """The limits. Default: by size."""
    gates: GateIds | None = None
    """Gate ids that are expected; what measures none of them is named. Default: none."""

    def __post_init__(self) -> None:
        require_distinct("formats", self.formats)
        require_distinct("backends", self.backends)


class Playbook(WireModel, frozen=True, kw_only=True):
    """A test plan of one model, as its author writes it."""

    name: Annotated[
        str,
        matching(
            r"[a-z0-9][a-z0-9._-]{0,95}", "1 to 96 of a-z 0-9 . _ -, the first a letter or digit"
        ),
    ]
    """What the run, its cells and its certificate are called. Required."""
    version: Annotated[
        str,
        matching(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}", 'three numbers, "1.0.0"'),
    ]
    """The version of the playbook. Required."""
    description: Annotated[str, Meta(max_length=500)] | None = None
    """What it is for, at most 500 characters; for readers. Default: none."""
    model: ModelSpec
    """The model under test. Required."""
    test_matrix: TestMatrix
    """The dimensions of the test. Required."""
    gates: GateSwitches = GateSwitches()
    """The gateways; one that is ``false`` bars a certificate."""
    oracles: Annotated[tuple[Oracle, ...], Meta(max_length=16)] = ()
    """Settings of the oracles that judge answers, each type once. Default: each one's own."""
    failure_policy: FailurePolicy = FailurePolicy.STOP_ON_P0
    """When the run stops early. Default: ``stop_on_p0``."""
    profile_ci: ProfileCi | None = None
    """How performance is measured. Default: as an empty section."""
    property_tests: PropertyTests | None = None
    """Properties of the answers to drawn prompts. Default: none."""
    falsification_gates: Annotated[tuple[FalsificationGate, ...], Meta(max_length=1000)] | None = (
        None
    )
    """Gates of the playbook's own, over what was recorded. Default: none."""
    state_machine: StateMachine | None = None
    """Declared, not run."""
    differential_tests: DifferentialTests | None = None
    """Declared, not run."""
    trace_payload: TracePayload | None = None
    """Declared, not run."""
    contract_tests: ContractTests | None = None
    """Declared, not run."""
    ollama_parity: OllamaParity | None = None
    """A comparison with Ollama. Default: none."""
    mvp_matrix: Annotated[tuple[MatrixEntry, ...], Meta(max_length=1000)] | None = None
    """Prompts for single combinations, beside the others. Default: none."""
    verification_tests: Annotated[tuple[VerificationTest, ...], Meta(max_length=1000)] | None = None
    """Prompts that are asked in each of their formats. Default: none."""
    kernel_profile: KernelProfile | None = None
    """What the author knows of the kernels; for readers."""
    metadata: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=64)], MetadataValue],
        Meta(max_length=100),
    ] = {}  # noqa: RUF012 - msgspec copies an empty default for every instance
    """Anything else, scalars and lists of scalars. ``tier`` names the tier of the playbook; the
    rest is for readers. Default: empty."""
