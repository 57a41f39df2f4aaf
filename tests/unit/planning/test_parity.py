from typing import Any

import pytest
from msgspec import UNSET

from aprqa_ci.planning.plan import Plan, PlannedParity
from aprqa_ci.vocabulary import Backend, ModelFormat
from aprqa_ci.wire import pretty_json
from tests.playbooks import planned, playbook_data

GATES = {"F-COMP-OLLAMA-001", "F-OLLAMA-002"}
ALL = {
    "model": {"formats": ["safetensors", "gguf"], "quantizations": ["q8_0", "q4_0"]},
    "test_matrix": {"modalities": ["run", "chat"]},
}


def plan_of(**sections: Any) -> Plan:
    return planned(playbook_data(**{**ALL, **sections}), tier="mvp")


def compared(plan: Plan) -> set[str]:
    return {cell.id for cell in plan.cells if {each.gate_id for each in cell.scenarios} >= GATES}


def test_gguf_cells_of_the_quantizations_are_compared_once() -> None:
    section = {"quantizations": ["q8_0", "q6_k"], "prompts": ["def f(a):"], "temperature": 0.5}
    plan = plan_of(ollama_parity=section)
    assert compared(plan) == {"tiny:run-cpu-gguf-q8_0"}
    parity = plan.playbooks[0].parity
    assert isinstance(parity, PlannedParity)
    assert parity.min_perf_ratio == 0.8
    (case,) = parity.prompts
    # The server is asked in a chat, so the cell is as well.
    assert (case.turns, case.raw, case.temperature) == (("def f(a):",), False, 0.5)
    assert plan.playbooks[0].declared_not_run == ("ollama_parity.quantizations.q6_k",)


def test_what_nothing_can_be_compared_with_is_named() -> None:
    plan = plan_of(ollama_parity={})
    assert compared(plan) == set()
    assert plan.playbooks[0].declared_not_run == ("ollama_parity",)
    assert not isinstance(plan.playbooks[0].parity, PlannedParity)
    off = plan_of(ollama_parity={"enabled": False, "quantizations": ["q8_0"]})
    assert compared(off) == set()
    assert off.playbooks[0].declared_not_run == ()


def test_ids_that_are_not_tested_here_are_named() -> None:
    ids = ["F-OLLAMA-001", "F-OLLAMA-002", "F-OLLAMA-003", "F-OLLAMA-005"]
    plan = plan_of(ollama_parity={"quantizations": ["q8_0"], "gates": ids})
    assert plan.playbooks[0].declared_not_run == (
        "ollama_parity.gates.F-OLLAMA-003",
        "ollama_parity.gates.F-OLLAMA-005",
    )


def test_limits_hold_for_the_formats_that_are_profiled() -> None:
    profile = {"formats": ["gguf"], "assertions": {"min_throughput": 1234.0}}
    book = plan_of(profile_ci=profile).playbooks[0]
    assert book.limits(Backend.CPU, ModelFormat.GGUF).min_throughput == 1234
    size = plan_of().playbooks[0].limits(Backend.CPU, ModelFormat.GGUF)
    assert book.limits(Backend.CPU, ModelFormat.SAFETENSORS) == size
    assert book.declared_not_run == ()


@pytest.mark.parametrize("formats", [["gguf", "safetensors"], ["gguf", "safetensors", "apr"]])
def test_a_list_of_all_formats_says_nothing_more(formats: list[str]) -> None:
    plan = plan_of(profile_ci={"formats": formats})
    assert b'"formats_profiled"' not in pretty_json(plan)
    assert plan.playbooks[0].declared_not_run == ()


def test_expected_gates_that_nothing_measures_are_named() -> None:
    ids = ["F-PROFILE-CI-001", "F-PERF-TTFT-001", "F-PERF-005"]
    assert plan_of(profile_ci={"gates": ids}).playbooks[0].declared_not_run == (
        "profile_ci.gates.F-PERF-005",
    )
    quick = planned(playbook_data(profile_ci={"gates": ids[:1]}), tier="quick").playbooks[0]
    assert quick.declared_not_run == ("profile_ci.gates.F-PROFILE-CI-001",)
    off = plan_of(profile_ci={"gates": ["x"], "enabled": False})
    assert off.playbooks[0].declared_not_run == ()


def test_an_engine_is_asked_for_its_own_profile_where_one_may_have_it() -> None:
    def profiled(formats: list[str], **profile: Any) -> object:
        model = playbook_data()["model"] | {"formats": formats}
        return planned(playbook_data(model=model, profile_ci=profile)).playbooks[0].profiled

    assert profiled(["apr"]) is True
    assert profiled(["apr"], enabled=False) is UNSET
    # Plans without such cells have the digest that they had.
    assert profiled(["gguf"]) is UNSET
    unasked = playbook_data(model=playbook_data()["model"] | {"formats": ["apr"]})
    assert planned(unasked).playbooks[0].profiled is UNSET
