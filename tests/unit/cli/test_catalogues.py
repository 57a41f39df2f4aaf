import json
from typing import TYPE_CHECKING

from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.conditions.catalogue import fact_catalogue, function_catalogue

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_gates_are_explained(aprqa: "Aprqa") -> None:
    ended = aprqa("gates")
    assert ended.code == 0
    for gate in gate_catalogue().values():
        assert f"{gate.id}  {gate.counts_for}  {gate.severity}" in ended.out
        assert gate.meaning in ended.out
        assert gate.remedy in ended.out
    told = json.loads(aprqa("gates", "--json").out)
    assert [each["id"] for each in told] == list(gate_catalogue())


def test_ids_of_the_existing_tool_are_explained(aprqa: "Aprqa") -> None:
    ended = aprqa("gates", "F-CONV-Gguf-Apr", "F-GOLDEN-RULE-003")
    assert ended.code == 0
    assert "F-CONV-Gguf-Apr  of the existing tool; counts as F-CONV-G-A" in ended.out
    assert "F-CONV-G-A  of the existing tool; counts nowhere" in ended.out
    assert "F-GOLDEN-RULE-001  COMP  P1" in ended.out
    told = json.loads(aprqa("gates", "F-GOLDEN-RULE-003", "--json").out)
    assert [each["id"] for each in told] == ["F-GOLDEN-RULE-001", "F-GOLDEN-RULE-003"]


def test_facts_are_explained(aprqa: "Aprqa") -> None:
    ended = aprqa("facts")
    assert ended.code == 0
    for fact in fact_catalogue().values():
        assert f"{fact.name}  {fact.type} of a {fact.of}" in ended.out
        assert fact.meaning in ended.out
    assert "mqs_score  number of a run; recorded by nothing here" in ended.out
    assert "gpu_tps  number of a run; needs gpu, F-PERF-TPS-001" in ended.out
    assert "arithmetic_oracle(prompt, output)  boolean" in ended.out
    told = json.loads(aprqa("facts", "--json").out)
    assert [each["name"] for each in told["functions"]] == list(function_catalogue())


def test_single_gates_are_explained(aprqa: "Aprqa") -> None:
    ended = aprqa("gates", "G1-LOAD", "G2-BASIC", "--json")
    assert [each["id"] for each in json.loads(ended.out)] == ["G1-LOAD", "G2-BASIC"]


def test_gates_that_there_are_not(aprqa: "Aprqa") -> None:
    ended = aprqa("gates", "G1-LAOD", "G2-BASIC", "ZZZ")
    assert ended.code == 2
    assert "error: there is no gate 'G1-LAOD' (perhaps 'G1-LOAD' is meant)" in ended.err
    assert "error: there is no gate 'ZZZ'" in ended.err
    assert ended.out == ""


def test_tiers_are_explained(aprqa: "Aprqa") -> None:
    ended = aprqa("tiers")
    assert ended.code == 0
    for tier in load_tiers().values():
        assert tier.meaning in ended.out
        assert f"at least {tier.minimum_scenarios} scenarios" in ended.out
    assert "quick  PROVISIONAL at most" in ended.out
    assert "mvp  CERTIFIED" in ended.out
    told = json.loads(aprqa("tiers", "--json").out)
    assert [each["name"] for each in told] == ["quick", "smoke", "mvp", "full"]
