import re

from aprqa_ci.gates import Gate, gate_catalogue
from aprqa_ci.planning.suites import load_suites
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.vocabulary import Category, Gateway


def gates() -> list[Gate]:
    return list(gate_catalogue().values())


def test_a_gate_counts_for_one_thing() -> None:
    for gate in gates():
        assert (gate.gateway is None) != (gate.category is None), gate.id
        assert gate.counts_for in {*Gateway, *Category}


def test_every_gateway_and_every_category_has_gates() -> None:
    assert {gate.gateway for gate in gates()} == {*Gateway, None}
    assert {gate.category for gate in gates()} == {*Category, None}


def test_ids_say_what_the_gate_counts_for() -> None:
    for gate in gates():
        if gate.gateway is not None:
            assert gate.id.startswith(f"{gate.gateway}-")
        else:
            assert re.fullmatch(r"F-[A-Z0-9]+(-[A-Z0-9]+)*-\d{3}", gate.id), gate.id


def test_people_learn_what_it_shows_and_what_to_do() -> None:
    for gate in gates():
        assert len(gate.meaning) > 10, gate.id
        assert len(gate.remedy) > 10, gate.id


def test_gateways_are_never_made_by_a_prompt() -> None:
    assert not [gate.id for gate in gates() if gate.gateway and gate.made_by == "prompt"]


def test_what_tiers_and_suites_name_is_in_the_catalogue() -> None:
    catalogue = gate_catalogue()
    for tier in load_tiers().values():
        for name in tier.checks:
            assert catalogue[name].made_by in {"check", "derived"}
            assert catalogue[name].category is not None
    for suite in load_suites().values():
        for named in {suite.gate, *(entry.gate for entry in suite.prompts)} - {None}:
            assert catalogue[str(named)].made_by == "prompt"


def test_every_check_is_in_some_tier() -> None:
    planned = {name for tier in load_tiers().values() for name in tier.checks}
    checks = {gate.id for gate in gates() if gate.made_by == "check"}
    assert checks - {"G1-LOAD"} <= planned
