from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.planning.baseline import Baseline, BaselineCell
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.falsification import category_of_gate
from aprqa_ci.planning.plan import Plan
from aprqa_ci.playbook.load import load_template
from aprqa_ci.vocabulary import Category, Gateway, Severity
from aprqa_ci.wire import pretty_json
from tests.playbooks import load, planned, playbook_data


def gate(name: str, condition: str, **more: str) -> dict[str, str]:
    return {"id": name, "description": "d", "condition": condition, **more}


def plan_of(*gates: dict[str, str], tier: str = "mvp", **changes: Any) -> Plan:
    return planned(playbook_data(falsification_gates=list(gates), **changes), tier=tier)


def test_a_gate_is_planned_under_its_own_id_beside_the_catalogue() -> None:
    plan = plan_of(gate("G1-LOAD", "loaded", severity="P0"), gate("F-PERF-001", "tps >= 10"))
    first, second = plan.playbooks[0].own_gates
    assert (first.id, first.gate_id, first.scenario) == (
        "G1-LOAD",
        "playbook:G1-LOAD",
        "tiny#G1-LOAD",
    )
    assert first.severity is Severity.P0
    assert second.category is Category.PERF
    assert second.severity is Severity.P1
    assert second.condition == "tps >= 10"
    # The gateway's own scenario is there as ever.
    assert "tiny:run-cpu-safetensors#G1-LOAD" in {each.id for each in plan.cells[0].scenarios}


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("G1-LOAD", Category.STAB),
        ("G2-INFER", Category.QUAL),
        ("G3-STABLE", Category.STAB),
        ("G4-VALID", Category.QUAL),
        ("F-QUAL-001", Category.QUAL),
        ("F-PERF-001", Category.PERF),
        ("F-STAB-001", Category.STAB),
        ("F-COMP-001", Category.COMP),
        ("F-EDGE-001", Category.EDGE),
        ("F-REGR-001", Category.REGR),
        ("F-HTTP-001", Category.STAB),
        ("my_perf_gate", Category.PERF),
        ("SUPERFAST", Category.QUAL),
    ],
)
def test_the_id_says_the_category(name: str, category: Category) -> None:
    assert category_of_gate(name) is category


def test_a_category_that_the_plan_lacks_is_not_opened_by_a_gate() -> None:
    (own,) = plan_of(gate("F-PERF-001", "duration_ms < 9"), tier="quick").playbooks[0].own_gates
    assert own.category is Category.QUAL


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("gpu_tps > 1", "this plan has no gpu"),
        ("health_check == 200", "this plan has no F-STAB-HEALTH-001"),
        ("mqs_score > 1", "nothing here records mqs_score"),
        ("tps / baseline_tps > 0.9", "this plan has no baseline"),
        ("backend == 'gpu' => tps >= 100", "it applies to no cell of this plan"),
        ("all_quants_pass", "this plan has no quantized"),
        ("gguf_output ≈ apr_output", "this plan has no F-COMP-AGREE-001, apr, gguf"),
    ],
)
def test_what_nothing_in_the_plan_can_judge_is_named(condition: str, why: str) -> None:
    playbook = plan_of(gate("F-X-001", condition)).playbooks[0]
    assert playbook.own_gates == ()
    assert "falsification_gates.F-X-001" in playbook.declared_not_run
    (warning,) = [each for each in playbook.warnings if "F-X-001" in each]
    assert warning.startswith("falsification_gates.F-X-001 is not judged: ")
    assert why in warning


def test_a_baseline_makes_its_facts_available() -> None:
    data = playbook_data(falsification_gates=[gate("F-REGR-002", "tps / baseline_tps > 0.9")])
    cell = BaselineCell(corroborated=(), tokens_per_second=9.0)
    baseline = Baseline(certificate_digest="c", cells={"tiny:run-cpu-safetensors": cell})
    plan = planned(data, tier="mvp", baselines={"tiny": baseline})
    assert [each.id for each in plan.playbooks[0].own_gates] == ["F-REGR-002"]


def test_a_plan_without_gates_is_written_as_it_always_was() -> None:
    plan = planned(playbook_data(), tier="mvp")
    written = pretty_json(plan)
    # The keys that a plan had before playbooks could define anything: its digest is what it was.
    new = ("gates", "switched_off", "formats_profiled", "performance_elsewhere", "parity")
    assert not [key for key in new if f'"{key}"'.encode() in written]


def test_a_gateway_that_is_off_stands_in_the_plan() -> None:
    data = playbook_data(gates={"g1_model_loads": False, "g4_output_quality": False})
    assert planned(data).playbooks[0].gateways_off == (Gateway.G1, Gateway.G4)
    assert planned(playbook_data()).playbooks[0].gateways_off == ()


def test_every_problem_of_conditions_has_its_line() -> None:
    gates = [
        gate("F-A", "ouput.len() > 0"),
        gate("F-B", "loaded"),
        gate("f-a", "tps ="),
        gate("has a blank", "loaded"),
    ]
    with pytest.raises(InputError) as caught:
        load(playbook_data(falsification_gates=gates))
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 4
    assert any("`falsification_gates[0].condition`: there is no fact 'ouput'" in x for x in said)
    assert any("perhaps 'output' is meant" in x for x in said)
    assert any("is the gate 'f-a' again" in x for x in said)
    assert any("falsification_gates[3].id" in x for x in said)
    assert all("tiny.playbook.yaml:1: " in x for x in said)


def test_templates_of_the_corpus_plan_all_their_gates(corpus: Path) -> None:
    values = {"MODEL_ID": "org/tiny", "HF_REPO": "org/tiny", "MODEL_NAME": "tiny"}
    gates = 0
    for path in sorted((corpus / "templates").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        used = {name: value for name, value in values.items() if f"${{{name}}}" in text}
        loaded = load_template(path, used)
        declared = {each.id for each in loaded.playbook.falsification_gates or ()}
        plan = expand([loaded], options=PlanOptions(tier="mvp"), tool_version="0", root=path.parent)
        playbook = plan.playbooks[0]
        named = {
            each.rpartition(".")[2]
            for each in playbook.declared_not_run
            if each.startswith("falsification_gates.")
        }
        assert {
            each.id for each in playbook.own_gates if not each.id.startswith("verification_tests")
        } | named == declared
        gates += len(declared)
    assert gates > 30
