"""The definition of a death, which nothing may weaken."""

import pytest

from aprqa_ci.selftest.mutants import Mutant, MutantClass, Sample
from aprqa_ci.selftest.trial import Caught, TrialResult
from aprqa_ci.selftest.verdict import as_expected, judge
from aprqa_ci.vocabulary import Status


def _sample(*expect: str) -> Sample:
    mutant = Mutant(
        id="m", class_=MutantClass.WEIGHTS, meaning="x", fault="echo", plan="p", expect=expect
    )
    return Sample(mutant=mutant, number=2, parameters={"a": 1}, held_out=True)


def _result(status: Status | None, *gates: str, proof: str = "", lack: str = "") -> TrialResult:
    caught = tuple(Caught(gate=gate, scenario="s", reason=f"of {gate}") for gate in gates)
    return TrialResult(id="m#2", status=status, mqs=7, caught=caught, proof=proof, lack=lack)


@pytest.mark.parametrize("status", [Status.BLOCKED, Status.INCONCLUSIVE])
def test_not_certified_and_caught_by_what_was_expected_is_a_death(status: Status) -> None:
    judged = judge(_sample("REGR"), _result(status, "G2-BASIC", "F-REGR-ROUNDTRIP-001"))
    assert judged.verdict == "killed"
    assert judged.reason == "F-REGR-ROUNDTRIP-001: of F-REGR-ROUNDTRIP-001"
    assert judged.caught_by == ("G2-BASIC", "F-REGR-ROUNDTRIP-001")
    assert (judged.id, judged.held_out, judged.status, judged.mqs) == ("m#2", True, status, 7)


def test_caught_by_another_gate_is_no_death_and_names_it() -> None:
    judged = judge(_sample("G0"), _result(Status.BLOCKED, "G2-BASIC"))
    assert judged.verdict == "survived"
    assert "others than expected: G2-BASIC" in judged.reason
    nothing = judge(_sample("G0"), _result(Status.BLOCKED))
    assert (nothing.verdict, "no gate" in nothing.reason) == ("survived", True)


@pytest.mark.parametrize("status", [Status.CERTIFIED, Status.PROVISIONAL])
def test_a_good_status_is_no_death_even_when_the_right_gate_failed(status: Status) -> None:
    judged = judge(_sample("G0"), _result(status, "G0-TENSOR-001"))
    assert judged.verdict == "survived"
    assert "G0-TENSOR-001" in judged.reason


def test_a_proof_makes_a_certified_mutant_equivalent_and_no_other() -> None:
    sample = _sample("G0")
    assert judge(sample, _result(Status.CERTIFIED, proof="same")).verdict == "equivalent"
    assert judge(sample, _result(Status.BLOCKED, "QUAL", proof="same")).verdict == "survived"


def test_without_a_certificate_nothing_is_dead() -> None:
    judged = judge(_sample("G0"), _result(None, lack="the pipeline did not end"))
    assert (judged.verdict, judged.reason) == ("survived", "the pipeline did not end")


@pytest.mark.parametrize(
    ("caught", "expected", "right"),
    [
        ("G0-TENSOR-001", "G0", True),
        ("G0-TENSOR-001", "G0-TENSOR-001", True),
        ("F-A1-001", "QUAL", True),
        ("F-A1-001", "PERF", False),
        ("infrastructure:engine-missing", "infrastructure:engine-missing", True),
        ("infrastructure:engine-missing", "G0", False),
        ("G0-UNKNOWN", "G0", False),
    ],
)
def test_gates_count_for_their_gateway_or_category(caught: str, expected: str, right: bool) -> None:
    assert as_expected(caught, [expected]) is right
