import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.gates import gate_catalogue, inspect_gate_ids
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.plan import Plan, PlannedCell, plan_digest
from aprqa_ci.planning.questions import questions_digest
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.load import load_playbooks, parse_playbook
from aprqa_ci.vocabulary import Backend, Category, Modality, ModelFormat
from tests.playbooks import ROOT, TIERS, load, made_playbooks, planned, playbook_data

# As the issue that asked for this project gives it.
EXAMPLE = b"""
name: qwen2.5-coder-0.5b-mvp
version: "1.0.0"
model:
  hf_repo: "Qwen/Qwen2.5-Coder-0.5B-Instruct"
  formats: [safetensors, apr, gguf]
  size_category: tiny
  family: qwen2
  size_variant: "0.5b"
test_matrix: {modalities: [run, chat], backends: [cpu], scenario_count: 3}
"""

tiers = st.sampled_from(TIERS)
steady = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def prompts_of(cell: PlannedCell) -> list[str]:
    return [
        turn
        for scenario in cell.scenarios
        if scenario.prompt is not None and scenario.prompt.suite == "playbook"
        for turn in scenario.prompt.turns
    ]


def number_of_prompts(cell: PlannedCell) -> int:
    return sum(scenario.prompt is not None for scenario in cell.scenarios)


def ids(plan: Plan) -> list[str]:
    return [scenario.id for cell in plan.cells for scenario in cell.scenarios]


@steady
@given(made_playbooks(), tiers)
def test_ids_are_unique_and_belong_to_their_cell(data: dict[str, Any], tier: str) -> None:
    plan = planned(data, tier=tier)
    assert max(Counter(ids(plan)).values()) == 1
    assert max(Counter(cell.id for cell in plan.cells).values()) == 1
    for cell in plan.cells:
        assert all(scenario.id.startswith(f"{cell.id}#") for scenario in cell.scenarios)


@steady
@given(made_playbooks(), made_playbooks(name="other"), tiers)
def test_another_playbook_changes_nothing(
    data: dict[str, Any], other: dict[str, Any], tier: str
) -> None:
    alone = planned(data, tier=tier)
    together = planned(other, data, tier=tier, shards=3)
    assert together.for_playbook("made") == alone.for_playbook("made")
    assert plan_digest(together.for_playbook("made")) == plan_digest(alone.for_playbook("made"))
    assert ids(together) == [*ids(planned(other, tier=tier)), *ids(alone)]


@steady
@given(made_playbooks(), tiers)
def test_every_prompt_of_the_playbook_is_asked(data: dict[str, Any], tier: str) -> None:
    plan = planned(data, tier=tier)
    asked = {text for cell in plan.cells for text in prompts_of(cell)}
    assert asked == set(data["test_matrix"].get("prompts", ()))


@steady
@given(made_playbooks(), tiers)
def test_a_tier_raises_the_number_of_scenarios_and_never_lowers_it(
    data: dict[str, Any], tier: str
) -> None:
    plan = planned(data, tier=tier)
    numbers = [number_of_prompts(cell) for cell in plan.cells]
    assert min(numbers) >= data["test_matrix"]["scenario_count"]
    assert sum(numbers) >= load_tiers()[tier].minimum_scenarios


@steady
@given(made_playbooks(), tiers)
def test_suites_are_never_crowded_out(data: dict[str, Any], tier: str) -> None:
    for cell in planned(data, tier=tier).cells:
        extra = load_tiers()[tier].edge + load_tiers()[tier].stress
        dealt = number_of_prompts(cell) - extra
        assert len(prompts_of(cell)) <= dealt // 2 + 1


@steady
@given(made_playbooks(), tiers)
def test_every_gate_is_in_the_catalogue_and_fits_its_scenario(
    data: dict[str, Any], tier: str
) -> None:
    catalogue = gate_catalogue()
    gateways = {gate.id for gate in catalogue.values() if gate.gateway}
    inspected = set(inspect_gate_ids(ModelFormat.GGUF))
    plan = planned(data, tier=tier)
    # Metadata of GGUF are held against SafeTensors, or against nothing.
    formats = {cell.format for cell in plan.cells}
    unplanned = {"G0-METADATA-001"} if ModelFormat.SAFETENSORS not in formats else set()
    for cell in plan.cells:
        for scenario in cell.scenarios:
            gate = catalogue[scenario.gate_id]
            assert (scenario.prompt is not None) == (gate.made_by == "prompt")
        found = {scenario.gate_id for scenario in cell.scenarios}
        readable = set(inspect_gate_ids(cell.format)) - unplanned
        assert found & gateways == (gateways - inspected) | readable


@steady
@given(made_playbooks(), tiers)
def test_nothing_is_compared_with_itself(data: dict[str, Any], tier: str) -> None:
    for engine in (None, "reference", "llamacpp"):
        plan = planned(data, tier=tier, engine=engine)
        truth = plan.playbooks[0].ground_truth
        for cell in plan.cells:
            if "F-COMP-AGREE-001" not in {scenario.gate_id for scenario in cell.scenarios}:
                continue
            assert truth is not None
            same_file = (cell.format, cell.quantization) == (truth.format, truth.quantization)
            by_reference = cell.format is ModelFormat.SAFETENSORS or engine == "reference"
            assert not (same_file and by_reference and cell.backend is Backend.CPU)


@steady
@given(made_playbooks(), st.sampled_from(["mvp", "full"]))
def test_files_are_compared_once_per_backend(data: dict[str, Any], tier: str) -> None:
    plan = planned(data, tier=tier)
    for gate in ("F-COMP-AGREE-001", "F-REGR-ROUNDTRIP-001"):
        seen = Counter(
            (cell.backend, cell.format, cell.quantization)
            for cell in plan.cells
            for scenario in cell.scenarios
            if scenario.gate_id == gate
        )
        assert set(seen.values()) <= {1}


@steady
@given(made_playbooks(), tiers, st.data())
def test_narrowed_says_that_cells_are_left_out(
    data: dict[str, Any], tier: str, drawn: st.DataObject
) -> None:
    whole = planned(data, tier=tier)
    assert not whole.playbooks[0].narrowed
    cells = [cell.id for cell in whole.cells]
    kept = drawn.draw(st.lists(st.sampled_from(cells), min_size=1, unique=True))
    narrowed = planned(data, tier=tier, only=kept)
    assert narrowed.playbooks[0].narrowed == (len(kept) < len(cells))
    assert narrowed.cells == tuple(cell for cell in whole.cells if cell.id in kept)
    cpu = planned(data, tier=tier, backends=[Backend.CPU])
    assert cpu.playbooks[0].narrowed == any(cell.backend is Backend.GPU for cell in whole.cells)


@steady
@given(made_playbooks())
def test_quick_takes_the_cpu_and_the_first_format(data: dict[str, Any]) -> None:
    plan = planned(data, tier="quick")
    assert {cell.backend for cell in plan.cells} == {Backend.CPU}
    assert {str(cell.format) for cell in plan.cells} == {data["model"]["formats"][0]}
    assert len(plan.cells) == len(data["test_matrix"]["modalities"])


@steady
@given(made_playbooks(), tiers)
def test_a_plan_is_what_it_is_read_back_as(data: dict[str, Any], tier: str) -> None:
    plan = planned(data, tier=tier, shards=2)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan
    assert planned(data, tier=tier, shards=2) == plan


@steady
@given(made_playbooks(), tiers, st.integers(0, 3))
def test_the_seed_reaches_every_prompt(data: dict[str, Any], tier: str, seed: int) -> None:
    data["test_matrix"]["seed"] = seed
    again = planned(data, tier=tier)
    data["test_matrix"]["seed"] = seed + 1
    other = planned(data, tier=tier)
    drawn = [
        [each.prompt for cell in plan.cells for each in cell.scenarios if each.prompt]
        for plan in (again, other)
    ]
    assert all(left.seed != right.seed for left, right in zip(*drawn, strict=True))
    assert [left.suite for left in drawn[0]] == [right.suite for right in drawn[1]]


def test_the_example_covers_all_six_categories() -> None:
    loaded = parse_playbook(EXAMPLE, path=ROOT / "example.playbook.yaml")
    plan = expand([loaded], options=PlanOptions(), tool_version="0.0.0", root=ROOT)
    (playbook,) = plan.playbooks
    assert playbook.tier == "mvp"
    assert not playbook.narrowed
    assert not any("not covered" in warning for warning in playbook.warnings)
    assert "qwen2.5-coder-0.5b-mvp:chat-cpu-gguf-q4_k_m" in {cell.id for cell in plan.cells}
    gates = gate_catalogue()
    covered = Counter(
        gates[each.gate_id].category for cell in plan.cells for each in cell.scenarios
    )
    assert set(covered) - {None} == set(Category)
    compared = {
        str(cell.format)
        for cell in plan.cells
        if any(each.gate_id == "F-COMP-AGREE-001" for each in cell.scenarios)
    }
    assert compared == {"apr", "gguf"}


def test_all_modalities_of_the_example_at_full() -> None:
    data = playbook_data(test_matrix={"modalities": [str(modality) for modality in Modality]})
    plan = planned(data, tier="full")
    suites = {
        scenario.prompt.suite.partition("@")[0]
        for cell in plan.cells
        for scenario in cell.scenarios
        if scenario.prompt
    }
    assert suites == {*load_tiers()["full"].suites, "edge", "stress"}
    serve = {
        scenario.gate_id
        for cell in plan.cells
        for scenario in cell.scenarios
        if cell.modality is not Modality.SERVE
    } & {"F-STAB-HEALTH-001", "F-STAB-CLIENTS-001", "F-STAB-MALFORMED-001"}
    assert not serve


def test_a_category_that_nothing_can_show_is_named() -> None:
    # With SafeTensors alone there is nothing to compare with the ground truth.
    (playbook,) = planned(playbook_data(), tier="mvp").playbooks
    assert [text for text in playbook.warnings if "not covered" in text] == [
        "category COMP is not covered: no cell of this matrix has anything to show for it"
    ]
    assert not planned(playbook_data(), tier="quick").playbooks[0].warnings


@pytest.mark.parametrize(
    ("metadata", "name", "tier"),
    [
        ({"tier": "smoke"}, "x-mvp", "smoke"),
        ({"tier": "nightly"}, "x", "full"),
        ({"tier": "gold"}, "x-quick", "mvp"),
        ({}, "x-quick", "quick"),
        ({}, "x-ci", "smoke"),
        ({}, "x", "mvp"),
    ],
)
def test_the_tier_is_what_the_playbook_says(metadata: dict[str, str], name: str, tier: str) -> None:
    plan = planned(playbook_data(name, metadata=metadata))
    assert plan.playbooks[0].tier == tier
    asked = planned(playbook_data(name, metadata=metadata), tier="full")
    assert asked.playbooks[0].tier == "full"


def test_the_most_precise_gguf_is_the_truth_without_safetensors() -> None:
    data = playbook_data(model={"formats": ["gguf"], "quantizations": ["q4_0", "f16", "q8_0"]})
    truth = planned(data, tier="mvp").playbooks[0].ground_truth
    assert truth is not None
    assert (truth.format, truth.quantization) == (ModelFormat.GGUF, "f16")
    apr = playbook_data(model={"formats": ["apr"]})
    assert planned(apr, tier="mvp").playbooks[0].ground_truth is None


def test_another_engine_on_the_same_file_is_a_comparison() -> None:
    data = playbook_data(model={"formats": ["gguf"], "quantizations": ["f16"]})
    for engine, compared in ((None, True), ("llamacpp", True), ("reference", False)):
        (cell,) = planned(data, tier="mvp", engine=engine).cells
        gates = {scenario.gate_id for scenario in cell.scenarios}
        assert ("F-COMP-AGREE-001" in gates) == compared, engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tier": "quik"}, "perhaps 'quick' is meant"),
        ({"only": ["*:chat-*"]}, r"'\*:chat-\*' matches no cell"),
        ({"backends": [Backend.GPU]}, "nothing is left to test"),
    ],
)
def test_what_cannot_be_planned_is_an_input_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        planned(playbook_data(), **options)


def test_a_playbook_for_the_gpu_has_no_quick_tier() -> None:
    data = playbook_data(test_matrix={"backends": ["gpu"]})
    with pytest.raises(InputError, match=r"tiny\.playbook\.yaml: tier quick takes none"):
        planned(data, tier="quick")


def test_a_playbook_without_a_selected_cell_is_left_out() -> None:
    plan = planned(playbook_data("one"), playbook_data("two"), only=["two:*"])
    assert [playbook.name for playbook in plan.playbooks] == ["two"]
    assert not plan.playbooks[0].narrowed


def test_what_was_certified_is_compared_with() -> None:
    data = playbook_data(test_matrix={"modalities": ["run", "chat"]})
    before = planned(data, tier="mvp")
    baseline = Baseline(
        certificate_digest="c" * 64,
        cells={"tiny:run-cpu-safetensors": BaselineCell(corroborated=())},
    )
    plan = planned(data, tier="mvp", baselines={"tiny": baseline, "other": baseline})
    added = set(ids(plan)) - set(ids(before))
    assert added == {"tiny:run-cpu-safetensors#F-REGR-BASELINE-001"}
    assert plan.playbooks[0].baseline == baseline
    quick = planned(data, tier="quick", baselines={"tiny": baseline})
    assert ids(quick) == ids(planned(data, tier="quick"))


def test_answers_are_compared_with_answers_to_the_same_questions() -> None:
    data = playbook_data(test_matrix={"seed": 42})
    cell = planned(data, tier="mvp").cells[0]

    def added(questions: str | msgspec.UnsetType, seed: int = 42) -> set[str]:
        baseline = Baseline(
            certificate_digest="c" * 64,
            cells={cell.id: BaselineCell(corroborated=(), questions=questions)},
        )
        changed = playbook_data(test_matrix={"seed": seed})
        plan = planned(changed, tier="mvp", baselines={"tiny": baseline})
        return set(ids(plan)) - set(ids(planned(changed, tier="mvp")))

    before, loss = f"{cell.id}#F-REGR-BASELINE-001", f"{cell.id}#F-REGR-LOSS-001"
    assert added(questions_digest(cell)) == {before, loss}
    assert added(questions_digest(cell), seed=43) == {before}
    assert added(msgspec.UNSET) == {before}


def test_paths_are_those_of_the_repository() -> None:
    playbook = load(playbook_data(model={"local_path": "models/tiny"}))
    for root, path, local in (
        (ROOT, "tiny.playbook.yaml", "models/tiny"),
        (ROOT / "elsewhere", "/somewhere/tiny.playbook.yaml", "/somewhere/models/tiny"),
    ):
        plan = expand([playbook], options=PlanOptions(), tool_version="0.0.0", root=root)
        assert (plan.playbooks[0].path, plan.playbooks[0].model.local_path) == (path, local)


def test_every_playbook_of_the_field_can_be_planned_at_every_tier() -> None:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    folder = Path(os.environ.get("APRQA_CORPUS", default)) / "playbooks" / "models"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set APRQA_CORPUS to the folder of the corpus")
    loaded = load_playbooks([folder])
    for tier in TIERS:
        plan = expand(
            loaded, options=PlanOptions(tier=tier, shards=8), tool_version="0.0.0", root=ROOT
        )
        assert len(plan.playbooks) == len(loaded) > 50
        assert max(Counter(ids(plan)).values()) == 1
