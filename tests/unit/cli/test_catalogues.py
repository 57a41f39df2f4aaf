import json
from typing import TYPE_CHECKING

import pytest

from aprqa_ci.cli import catalogues
from aprqa_ci.execution.engines.interface import Capability, EngineInfo
from aprqa_ci.execution.engines.registry import engine_names
from aprqa_ci.gates import gate_catalogue
from aprqa_ci.planning.tiers import load_tiers
from aprqa_ci.playbook.conditions.catalogue import fact_catalogue, function_catalogue
from aprqa_ci.vocabulary import Backend, ModelFormat

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Aprqa


def test_engines_are_listed(aprqa: "Aprqa") -> None:
    ended = aprqa("engines")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].split() == ["engine", "version", "here", "formats", "backends", "promises"]
    names = list(engine_names())
    assert [line.split()[0] for line in lines[1 : 1 + len(names)]] == names
    told = json.loads(aprqa("engines", "--json").out)
    assert [each["name"] for each in told] == names
    (reference,) = (each for each in told if each["name"] == "reference")
    assert set(reference["capabilities"]) == {str(each) for each in Capability}
    assert all(isinstance(each["available"], bool) for each in told)


def test_how_to_get_an_engine_that_is_not_here(
    aprqa: "Aprqa", monkeypatch: pytest.MonkeyPatch
) -> None:
    class Absent:
        name = "far"

        def info(self) -> EngineInfo:
            return EngineInfo(
                name="far",
                version=None,
                available=False,
                reason="far is not installed",
                formats=(ModelFormat.GGUF,),
                backends=(Backend.GPU,),
                how_to_get="pip install far",
            )

    monkeypatch.setattr(catalogues, "known_engines", lambda: {"far": Absent()})
    ended = aprqa("engines")
    assert ended.out.splitlines()[1].split() == ["far", "-", "no", "gguf", "gpu", "-"]
    assert "far: far is not installed; pip install far" in ended.out


@pytest.mark.parametrize(
    ("promised", "shown"),
    [
        (tuple(Capability), "all"),
        ((Capability.RAW, Capability.SEED), "raw, seed"),
        (tuple(Capability)[1:], "all but raw"),
        ((), "-"),
    ],
)
def test_promises_are_told_the_short_way(promised: tuple[Capability, ...], shown: str) -> None:
    info = EngineInfo(
        name="any",
        version=None,
        available=True,
        reason="",
        how_to_get="",
        formats=(),
        backends=(),
        capabilities=promised,
    )
    assert catalogues._promises(info) == shown


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
