import pytest
from msgspec.structs import replace

from aprqa_ci.data_files import load_data
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.planning.model_size import (
    parameters_in_billions,
    placement_facts,
    room_needed,
    scratch_gb,
    size_of,
    weights_gb,
)
from aprqa_ci.planning.plan import GroundTruth, PlannedModel
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory
from tests.cells import cell_of, playbook_of

AGREEMENT = "F-COMP-AGREE-001"
ROUND_TRIP = "F-REGR-ROUNDTRIP-001"


def model(repo: str = "org/thing", **changes: object) -> PlannedModel:
    made = PlannedModel(hf_repo=repo, formats=(), size_category=SizeCategory.MEDIUM)
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("repo", "billions"),
    [
        ("Qwen/Qwen2.5-Coder-0.5B-Instruct", 0.5),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135),
        ("ibm-granite/granite-3b-code-instruct-128k", 3),
        ("internlm/internlm2_5-7b-chat", 7),
        ("allenai/OLMo-2-1124-13B-Instruct", 13),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 56),
        ("Qwen/Qwen3-30B-A3B", 30),
        ("bigcode/starcoder2-7b", 7),
        ("org/draft-0.5b-for-7b", 7),
        # Nothing of these is a size.
        ("microsoft/Phi-3-mini-4k-instruct", None),
        ("openchat/openchat-3.5-0106", None),
        ("7b-labs/thing", None),
        ("org/model-0b", None),
        ("org/bert2base", None),
    ],
)
def test_the_name_tells_the_size(repo: str, billions: float | None) -> None:
    known = placement_facts().size_limits[SizeCategory.MEDIUM]
    assert parameters_in_billions(model(repo)) == pytest.approx(billions or known)


def test_the_declared_variant_comes_first() -> None:
    assert parameters_in_billions(model("org/x-7b", size_variant="0.5b")) == 0.5
    assert parameters_in_billions(model("org/x-7b", size_variant="base")) == 7


def test_the_size_is_what_the_name_says_rather_than_the_category() -> None:
    assert size_of(model("org/x-7b", size_category=SizeCategory.TINY)) is SizeCategory.MEDIUM
    assert size_of(model("org/x-700b")) is SizeCategory.HUGE
    for category in SizeCategory:
        assert size_of(model(size_category=category)) is category


def test_weights_take_their_bits() -> None:
    margin = placement_facts().file_margin_gb
    seven = model("org/x-7b")
    assert weights_gb(seven, ModelFormat.SAFETENSORS, None) == pytest.approx(14 + margin)
    bits = quantization_catalogue()["q4_k_m"].bits_per_weight
    assert weights_gb(seven, ModelFormat.GGUF, "q4_k_m") == pytest.approx(7 * bits / 8 + margin)
    assert weights_gb(seven, ModelFormat.GGUF, None) == pytest.approx(14 + margin)


def test_larger_and_more_precise_needs_more() -> None:
    sizes = [
        weights_gb(model(f"org/x-{size}b"), ModelFormat.GGUF, name)
        for size in (1, 7)
        for name in reversed(quantization_catalogue())
    ]
    half = len(sizes) // 2
    assert sizes[:half] == sorted(sizes[:half])
    assert all(small < large for small, large in zip(sizes[:half], sizes[half:], strict=True))


def test_a_cell_needs_room_for_what_it_is_compared_with() -> None:
    playbook = playbook_of(model=model("org/x-7b"))
    plain = room_needed(cell_of(), replace(playbook, ground_truth=None))
    compared = room_needed(cell_of(checks=[AGREEMENT]), playbook)
    truth = weights_gb(playbook.model, ModelFormat.SAFETENSORS, None)
    assert plain.truth_gb == 0
    assert compared.truth_gb == pytest.approx(truth)
    assert compared.disk_gb == pytest.approx(plain.disk_gb + truth)
    factor = placement_facts().truth_memory
    assert compared.memory_gb == pytest.approx(plain.memory_gb + factor * truth)


def test_files_that_are_only_read_take_disk_and_no_memory() -> None:
    playbook = playbook_of(model=model("org/x-7b"))
    read = room_needed(cell_of(checks=[ROUND_TRIP]), playbook)
    plain = room_needed(cell_of(), playbook)
    assert read.truth_gb > 0
    assert read.memory_gb == plain.memory_gb
    assert plain.truth_gb == 0


def test_a_round_trip_writes_what_there_is_no_original_of() -> None:
    playbook = playbook_of(model=model("org/x-7b"))
    gguf = cell_of(checks=[ROUND_TRIP])
    safetensors = cell_of(format=ModelFormat.SAFETENSORS, checks=[ROUND_TRIP])
    assert scratch_gb(gguf, playbook) == 0
    assert scratch_gb(safetensors, playbook) == 28
    assert scratch_gb(gguf, replace(playbook, ground_truth=None)) == 28
    assert scratch_gb(cell_of(format=ModelFormat.SAFETENSORS), playbook) == 0
    plain = room_needed(cell_of(format=ModelFormat.SAFETENSORS), playbook).disk_gb
    assert room_needed(safetensors, playbook).disk_gb == plain + 28


def test_the_ground_truth_is_not_on_disk_twice() -> None:
    playbook = playbook_of(
        model=model("org/x-7b"),
        ground_truth=GroundTruth(format=ModelFormat.GGUF, quantization="f16"),
    )
    itself = room_needed(cell_of(checks=[AGREEMENT]), playbook)
    assert itself.truth_gb == 0
    assert itself.disk_gb == room_needed(cell_of(), playbook).disk_gb


def test_only_cells_of_the_gpu_need_its_memory() -> None:
    playbook = playbook_of(model=model("org/x-7b"))
    assert room_needed(cell_of(), playbook).vram_gb == 0
    assert room_needed(cell_of(backend=Backend.GPU), playbook).vram_gb > 14


def test_placement_never_asks_for_less_than_execution_does() -> None:
    limits = load_limits()
    memory = placement_facts().memory[Backend.CPU]
    assert memory[ModelFormat.GGUF] >= limits.memory_factor["llamacpp"]
    assert memory[ModelFormat.SAFETENSORS] >= limits.memory_factor["reference"]
    assert memory[ModelFormat.APR] >= limits.memory_factor_default
    assert placement_facts().truth_memory >= limits.memory_factor["reference"]


def test_every_format_and_size_has_its_facts() -> None:
    facts = load_data("placement.yaml", type(placement_facts()))
    assert list(facts.size_limits) == list(SizeCategory)
    assert set(facts.vram) == set(ModelFormat)
    assert {name: set(each) for name, each in facts.memory.items()} == {
        backend: set(ModelFormat) for backend in Backend
    }
