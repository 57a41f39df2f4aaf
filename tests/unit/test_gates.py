import csv
import os
import re
from pathlib import Path

import pytest

from aprqa_ci.gates import (
    Gate,
    canonical_gate_id,
    foreign_gates,
    gate_catalogue,
    gates_of_section,
)
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


@pytest.mark.parametrize(
    ("gate", "holds"),
    [
        ("F-REGR-ROUNDTRIP-001", True),
        ("F-REGR-LOSS-001", True),
        ("F-REGR-BASELINE-001", False),
        ("F-A1-001", False),
        ("G1-LOAD", False),
    ],
)
def test_measurements_must_hold_and_of_what_is_derived_what_leaves_room(
    gate: str, holds: bool
) -> None:
    assert gate_catalogue()[gate].must_hold is holds


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


def test_every_check_is_in_some_tier_or_section() -> None:
    planned = {name for tier in load_tiers().values() for name in tier.checks}
    planned |= {gate.id for gate in gates() if gate.section is not None}
    checks = {gate.id for gate in gates() if gate.made_by == "check"}
    assert checks - {"G1-LOAD"} <= planned


def test_every_gate_of_a_section_names_its_test() -> None:
    asked = [gate for gate in gates() if gate.section is not None]
    assert len({gate.section for gate in asked}) == len(asked)
    assert gates_of_section("contract_tests") == {
        "I-1": "F-GOLDEN-RULE-001",
        "I-2": "F-CONTRACT-I2-001",
        "I-3": "F-CONTRACT-I3-001",
        "I-4": "F-CONTRACT-I4-001",
        "I-5": "F-CONTRACT-I5-001",
    }
    assert gates_of_section("differential_tests") == {}
    assert gates_of_section("contract_test") == {}


def test_a_test_has_one_id_whatever_its_outcome() -> None:
    for ours, theirs in (
        ("F-CONV-G-A", "F-CONV-Gguf-Apr"),
        ("F-CONV-S-G", "F-CONV-SafeTensors-Gguf"),
        ("F-CONV-RT-001", "F-CONV-Gguf-Gguf"),
        ("F-GOLDEN-RULE-001", "F-GOLDEN-RULE-003"),
        ("F-GOLDEN-RULE-001", "F-CONTRACT-I1-001"),
    ):
        assert canonical_gate_id(theirs) == canonical_gate_id(ours) == ours
    assert canonical_gate_id("G1-LOAD") == "G1-LOAD"
    assert canonical_gate_id("never heard of") == "never heard of"


def test_other_names_lead_to_a_known_id_at_once() -> None:
    known = {*gate_catalogue(), *foreign_gates()}
    assert not set(gate_catalogue()) & set(foreign_gates())
    for gate in foreign_gates().values():
        assert len(gate.meaning) > 10, gate.id
        if gate.same_as is not None:
            assert gate.same_as in known, gate.id
            assert canonical_gate_id(gate.same_as) == gate.same_as, gate.id


def test_every_id_that_the_existing_tool_writes_is_known() -> None:
    default = Path(__file__).resolve().parents[2].parent / "shared" / "reference"
    table = Path(os.environ.get("APRQA_REFERENCE", default)) / "gates.csv"
    if not table.is_file():
        pytest.skip(f"there is no {table}; set APRQA_REFERENCE to its folder")
    with table.open(encoding="utf-8", newline="") as stream:
        written = {row["gate_id"] for row in csv.DictReader(stream) if row["status"] == "EMITTED"}
    assert len(written) > 60
    assert not written - {*gate_catalogue(), *foreign_gates()}
