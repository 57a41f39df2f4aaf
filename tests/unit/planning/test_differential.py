import os
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.comparisons import Comparisons
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.plan import Plan, PlannedPlaybook
from aprqa_ci.playbook.load import load_playbooks
from tests.playbooks import TIERS, planned, playbook_data

FILES = ["safetensors", "gguf"]
EVERYTHING: dict[str, Any] = {
    "contract_tests": {"invariants": ["I-1", "I-2", "I-3", "I-4", "I-5"]},
    "differential_tests": {
        "format_validation": {},
        "tensor_diff": {},
        "inference_compare": {},
        "fingerprint": {},
        "validate_stats": {},
    },
}
SECTION_OF = {
    gate.id: str(gate.section)
    for gate in gate_catalogue().values()
    if (gate.section or "").startswith(("contract_tests.", "differential_tests."))
}
OF_SECTIONS = set(SECTION_OF)


def plan_with(
    formats: list[str] = FILES, quantizations: list[str] | None = None, **sections: Any
) -> Plan:
    model = {"formats": formats, "quantizations": quantizations or ["q8_0"]}
    tier = sections.pop("tier", "mvp")
    matrix = sections.pop("test_matrix", {})
    return planned(playbook_data(model=model, test_matrix=matrix, **sections), tier=tier)


def gates_by_cell(plan: Plan) -> dict[str, set[str]]:
    return {
        cell.id.partition(":")[2]: {each.gate_id for each in cell.scenarios} & OF_SECTIONS
        for cell in plan.cells
    }


def book(plan: Plan) -> PlannedPlaybook:
    (only,) = plan.playbooks
    return only


def test_everything_that_is_asked_for_is_planned_where_it_shows_something() -> None:
    plan = plan_with(quantizations=["f16", "q4_0"], **EVERYTHING)
    cells = gates_by_cell(plan)
    assert set().union(*cells.values()) == OF_SECTIONS
    assert cells["run-cpu-gguf-f16"] == OF_SECTIONS
    exact = {"F-ROSETTA-INF-002", "F-ROSETTA-FP-002"}
    assert cells["run-cpu-gguf-q4_0"] == OF_SECTIONS - exact
    # The ground truth is compared with nothing; what one file shows by itself is asked of it.
    assert cells["run-cpu-safetensors"] == {
        "F-GOLDEN-RULE-001",
        "F-CONTRACT-I3-001",
        "F-CONTRACT-I5-001",
        "F-APR-FORMAT-001",
        "F-APR-FORMAT-002",
        "F-APR-FORMAT-003",
        "F-ROSETTA-INF-003",
        "F-ROSETTA-FP-001",
        "F-ROSETTA-STATS-005",
        "F-ROSETTA-STATS-006",
    }
    assert book(plan).declared_not_run == (
        "differential_tests.fingerprint.checksum on gguf-q4_0",
        "differential_tests.inference_compare.logits on gguf-q4_0",
    )
    assert len([text for text in book(plan).warnings if "is not run" in text]) == 2


def test_nothing_is_planned_that_nobody_asks_for() -> None:
    plan = plan_with()
    assert set().union(*gates_by_cell(plan).values()) == set()
    assert book(plan).comparisons is msgspec.UNSET
    off = {name: {"enabled": False} for name in EVERYTHING["differential_tests"]}
    plan = plan_with(differential_tests=off, contract_tests={"invariants": []})
    assert set().union(*gates_by_cell(plan).values()) == set()
    assert book(plan).declared_not_run == ()


def test_files_are_read_once_and_answers_asked_on_every_backend() -> None:
    matrix = {"modalities": ["run", "chat", "serve"], "backends": ["cpu", "gpu"]}
    plan = plan_with(["gguf"], test_matrix=matrix, **EVERYTHING)
    counts = Counter(
        scenario.gate_id
        for cell in plan.cells
        for scenario in cell.scenarios
        if scenario.gate_id in OF_SECTIONS
    )
    answers = {"F-GOLDEN-RULE-001", "F-ROSETTA-INF-001", "F-ROSETTA-INF-003"}
    assert {counts[gate] for gate in answers} == {2}
    assert {counts[gate] for gate in counts if gate not in answers} == {1}
    assert {cell for cell, gates in gates_by_cell(plan).items() if gates} == {
        "run-cpu-gguf-q8_0",
        "run-gpu-gguf-q8_0",
    }


@pytest.mark.parametrize(
    ("formats", "planned_there"), [(["safetensors"], True), (["gguf"], True), (FILES, False)]
)
def test_a_lone_file_is_compared_with_the_one_converted_from_it(
    formats: list[str], planned_there: bool
) -> None:
    plan = plan_with(formats, differential_tests={"inference_compare": {}})
    first = next(iter(gates_by_cell(plan).values()))
    assert ("F-ROSETTA-INF-001" in first) is planned_there
    logits = "differential_tests.inference_compare.logits"
    assert book(plan).declared_not_run == (logits,)


def test_a_lone_file_names_what_there_is_nothing_to_compare_with() -> None:
    plan = plan_with(["safetensors"], contract_tests={})
    assert gates_by_cell(plan) == {
        "run-cpu-safetensors": {"F-CONTRACT-I3-001", "F-CONTRACT-I5-001"}
    }
    assert book(plan).declared_not_run == ("contract_tests.I-2", "contract_tests.I-4")
    assert "contract_tests.I-2 is not run: it would be compared with itself" in book(plan).warnings


def test_what_an_apr_file_hides_is_named() -> None:
    plan = plan_with(["safetensors", "apr"], contract_tests={})
    assert gates_by_cell(plan)["run-cpu-apr"] == {"F-CONTRACT-I2-001", "F-CONTRACT-I4-001"}
    assert book(plan).declared_not_run == ("contract_tests.I-3 on apr", "contract_tests.I-5 on apr")
    alone = plan_with(["apr"], contract_tests={})
    assert len(book(alone).declared_not_run) == 4
    assert any("there is nothing to compare with" in text for text in book(alone).warnings)


def test_the_tier_that_asks_prompts_alone_names_the_sections() -> None:
    plan = plan_with(tier="quick", **EVERYTHING)
    assert set().union(*gates_by_cell(plan).values()) == set()
    assert set(book(plan).declared_not_run) == set(SECTION_OF.values())
    assert all("tier quick makes no comparisons" in text for text in book(plan).warnings)


def test_gates_choose_and_unknown_ones_are_named() -> None:
    plan = plan_with(
        differential_tests={
            "tensor_diff": {"gates": ["F-ROSETTA-DIFF-002", "F-ROSETTA-DIFF-009"]},
            "format_validation": {
                "checks": ["header_integrity", "colour"],
                "gates": ["F-ROSETTA-FMT-001"],
            },
            "fingerprint": {"stats": ["mean", "entropy"], "gates": []},
            "inference_compare": {"gates": ["F-ROSETTA-INF-999"]},
        }
    )
    cells = gates_by_cell(plan)
    assert cells["run-cpu-gguf-q8_0"] == {
        "F-ROSETTA-DIFF-002",
        "F-APR-FORMAT-003",
        "F-ROSETTA-FP-001",
        "F-ROSETTA-FP-003",
        "F-ROSETTA-INF-001",
        "F-ROSETTA-INF-003",
    }
    assert set(book(plan).declared_not_run) == {
        "differential_tests.tensor_diff.gates: F-ROSETTA-DIFF-009",
        "differential_tests.format_validation.checks: colour",
        "differential_tests.format_validation.gates: F-ROSETTA-FMT-001",
        "differential_tests.fingerprint.stats: entropy",
        "differential_tests.inference_compare.gates: F-ROSETTA-INF-999",
        "differential_tests.inference_compare.logits",
    }


def test_settings_go_along_with_their_defaults() -> None:
    plan = plan_with(contract_tests={})
    assert book(plan).comparisons == Comparisons()
    plan = plan_with(differential_tests={"validate_stats": {}})
    settings = book(plan).comparisons
    assert settings
    assert (settings.layernorm, settings.embedding, settings.attention) == (0.001, 0.1, 0.01)
    plan = plan_with(
        differential_tests={
            "tensor_diff": {"filter": "embed, lm_head,,layers.0"},
            "inference_compare": {"prompt": "Why?", "max_tokens": 3, "tolerance": 0.5},
            "fingerprint": {"tensors": "all", "stats": ["std", "mean"]},
            "validate_stats": {"reference": "ref/x.json", "tolerance": {"attention": 0.2}},
        }
    )
    assert book(plan).comparisons == Comparisons(
        tensors=("embed", "lm_head", "layers.0"),
        statistics=("mean", "std"),
        reference="ref/x.json",
        attention=0.2,
        prompt="Why?",
        max_tokens=3,
        logit_tolerance=0.5,
    )


def test_with_a_reference_the_ground_truth_has_something_to_show() -> None:
    plan = plan_with(
        ["safetensors"],
        differential_tests={"validate_stats": {"reference": "x.json"}},
    )
    assert len(gates_by_cell(plan)["run-cpu-safetensors"]) == 6
    assert book(plan).declared_not_run == ()


def test_a_narrowed_run_names_what_it_leaves_out() -> None:
    data = playbook_data(
        model={"formats": FILES, "quantizations": ["f16"]}, contract_tests={"invariants": ["I-2"]}
    )
    plan = planned(data, tier="mvp", only=("*-safetensors",))
    assert book(plan).declared_not_run == ("contract_tests.I-2",)


@pytest.mark.parametrize("tier", TIERS)
def test_playbooks_of_the_field_lose_nothing_in_silence(tier: str) -> None:
    default = Path(__file__).resolve().parents[3].parent / "shared" / "corpus"
    folder = Path(os.environ.get("APRQA_CORPUS", default)) / "playbooks" / "models"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; set APRQA_CORPUS to the folder of the corpus")
    loaded = load_playbooks([folder])
    plan = expand(
        loaded, options=PlanOptions(tier=tier), tool_version="0.0.0", root=Path("/somewhere")
    )
    sections = {gate.id: gate.section for gate in gate_catalogue().values()}
    checked = 0
    for entry, planned_one in zip(loaded, plan.playbooks, strict=True):
        there = {
            str(sections[scenario.gate_id])
            for cell in plan.cells_of(planned_one.name)
            for scenario in cell.scenarios
        } | set(planned_one.declared_not_run)
        contract = entry.playbook.contract_tests
        for invariant in contract.invariants if contract else ():
            assert f"contract_tests.{invariant}" in there
            checked += 1
        tests = entry.playbook.differential_tests
        for name in tests.__struct_fields__ if tests else ():
            section = getattr(tests, name)
            for gate in section.gates if section is not None else ():
                path = f"differential_tests.{name}"
                known = sections.get(gate)
                assert {known, f"{path}.gates: {gate}"} & there, (planned_one.name, gate)
                checked += 1
    assert checked > 100
