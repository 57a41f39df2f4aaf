from typing import TYPE_CHECKING, Any

import pytest

from aprqa_ci.reports.causes import RootCause, gateway_advice, root_causes
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.vocabulary import Gateway, Outcome

if TYPE_CHECKING:
    from tests.unit.reports.conftest import Report

GGUF = "tiny:run-cpu-gguf-q8_0"
SAFETENSORS = "tiny:run-cpu-safetensors"


def failed(reason: str, **more: Any) -> dict[str, Any]:
    return {"outcome": Outcome.FALSIFIED, "reason": reason, **more}


def causes(make: "Report", changes: dict[str, dict[str, Any] | None]) -> list[RootCause]:
    return root_causes(make(changes).scenarios)


def test_a_good_run_has_no_causes(make: "Report") -> None:
    assert causes(make, {}) == []


@pytest.mark.parametrize(
    ("reason", "log", "cause"),
    [
        ("error: File not found: /models/x.gguf", "", "file-missing"),
        ("it failed", "ERROR: APR file missing embedded tokenizer.", "tokenizer-missing"),
        ("it failed", "\x1b[31mggml: OUT OF MEMORY\x1b[0m", "out-of-memory"),
        ("it failed", f"{'x' * 9000} segmentation fault", "killed"),
        ("model.layers.0 shape mismatch", "", "shape"),
        ("the engine: unknown architecture 'moe'", "", "unsupported"),
    ],
)
def test_a_cause_is_known_by_its_words(make: "Report", reason: str, log: str, cause: str) -> None:
    (found,) = causes(make, {f"{GGUF}#001": failed(reason, stderr=log or None)})
    assert found.id == cause
    assert found.known is not None
    assert found.title == found.known.title


def test_what_the_model_answered_is_no_cause(make: "Report") -> None:
    answer = "File not found: segmentation fault, out of memory"
    (found,) = causes(make, {f"{GGUF}#001": failed("4 was expected", output=answer)})
    assert found.known is None
    assert found.title == "F-A1-001: 4 was expected"


def test_a_time_out_is_known_by_its_outcome(make: "Report") -> None:
    change = {"outcome": Outcome.TIMEOUT, "reason": "no answer"}
    (found,) = causes(make, {f"{GGUF}#001": change})
    assert found.id == "timeout"


def test_reasons_that_differ_in_names_and_numbers_are_one_cause(make: "Report") -> None:
    (found,) = causes(
        make,
        {
            f"{GGUF}#001": failed("expected 42, the answer 'four' ends in 17"),
            f"{GGUF}#002": failed("expected 7, the answer 'nine' ends in 8.5"),
            f"{SAFETENSORS}#003": failed("expected 1, the answer '' ends in q8_0"),
        },
    )
    assert len(found.failures) == 3
    assert found.gates == ("F-A1-001",)
    assert found.cells == (SAFETENSORS, GGUF)
    assert found.gateway is None


def test_other_words_another_gate_or_another_end_are_other_causes(make: "Report") -> None:
    found = causes(
        make,
        {
            f"{GGUF}#001": failed("expected 42"),
            f"{GGUF}#002": failed("wanted 42"),
            f"{GGUF}#003": {"outcome": Outcome.CRASHED, "reason": "expected 42"},
            f"{GGUF}#F-PERF-TPS-001": failed("expected 42"),
        },
    )
    assert len({each.id for each in found}) == 4


def test_a_cause_has_the_same_id_in_every_run(make: "Report") -> None:
    (one,) = causes(make, {f"{GGUF}#001": failed("expected 42")})
    (other,) = causes(make, {f"{SAFETENSORS}#002": failed("expected 43")})
    assert one.id == other.id
    assert one.id.startswith("f-a1-001-")


def test_what_was_concluded_goes_with_its_cause(make: "Report") -> None:
    (found,) = causes(
        make,
        {
            f"{GGUF}#001": failed("the engine said no", metadata={"kind": "engine-error"}),
            f"{GGUF}#G2-BASIC": failed("1 of 3 prompts ended in an engine error"),
        },
    )
    assert [each.score.gate_id for each in found.failures] == ["F-A1-001", "G2-BASIC"]
    assert found.gateway is Gateway.G2


def test_what_was_concluded_from_several_causes_stands_alone(make: "Report") -> None:
    found = causes(
        make,
        {
            f"{GGUF}#001": failed("this"),
            f"{GGUF}#002": failed("that"),
            f"{GGUF}#G2-BASIC": failed("2 of 3 prompts ended in an engine error"),
        },
    )
    assert [each.gates for each in found] == [("G2-BASIC",), ("F-A1-001",), ("F-A1-001",)]


def test_gateways_come_first_and_then_what_is_frequent(make: "Report") -> None:
    found = causes(
        make,
        {
            f"{GGUF}#001": failed("seldom"),
            f"{GGUF}#002": failed("often"),
            f"{GGUF}#003": failed("often"),
            f"{GGUF}#G1-LOAD": failed("cannot be read"),
            f"{SAFETENSORS}#G0-DIGEST-001": failed("is another"),
        },
    )
    assert [each.gateway for each in found] == [Gateway.G0, Gateway.G1, None, None]
    assert [len(each.failures) for each in found] == [1, 1, 2, 1]


def test_every_gateway_has_advice() -> None:
    for gateway in Gateway:
        advice = gateway_advice(gateway)
        assert advice.likely
        assert advice.next.startswith("aprqa ")


def test_no_failure_of_real_evidence_is_lost(corpus_reports: list[RunReport]) -> None:
    known = 0
    for report in corpus_reports:
        failures = [each for each in report.scenarios if each.is_failure]
        found = root_causes(report.scenarios)
        assert sorted(each.name for cause in found for each in cause.failures) == sorted(
            each.name for each in failures
        )
        assert len(found) <= max(len(failures), 1)
        known += sum(cause.known is not None for cause in found)
    assert known >= 10


def test_wrong_answers_that_one_oracle_found_are_one_cause(make: "Report") -> None:
    reasons = ("4 was expected, there is no number", "'slow' is missing", "the answer says 17")
    wrong = {
        f"{GGUF}#{number:03d}": failed(reason, metadata={"kind": "wrong"})
        for number, reason in enumerate(reasons, start=1)
    }
    (found,) = causes(make, dict(wrong))
    assert len(found.failures) == 3
    wrong[f"{GGUF}#003"] = failed("nothing but spaces", metadata={"kind": "empty"})
    assert sorted(len(each.failures) for each in causes(make, dict(wrong))) == [1, 2]
