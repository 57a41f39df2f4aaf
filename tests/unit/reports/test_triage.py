from typing import TYPE_CHECKING

from aprqa_ci.evidence.record import MetadataKey
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.reports.triage import Triage, triage_of
from aprqa_ci.vocabulary import Gateway, GatewayState, Outcome

if TYPE_CHECKING:
    from tests.unit.reports.conftest import Report

GGUF = "tiny:run-cpu-gguf-q8_0"


def _triage(report: RunReport, path: str | None = "playbooks/tiny.playbook.yaml") -> Triage:
    return triage_of(report.score, report.scenarios, playbook_path=path)


def test_a_good_run_has_nothing_to_triage(make: "Report") -> None:
    made = _triage(make())
    assert (made.playbook, made.mqs, made.gateways, made.causes) == ("tiny", 1000, (), ())


def test_a_failed_gateway_has_its_reasons_likely_causes_and_a_command(make: "Report") -> None:
    report = make(
        {
            f"{GGUF}#G1-LOAD": {
                "outcome": Outcome.FALSIFIED,
                "reason": "the file is truncated",
                "stderr": "llama: tensor 7 is out of bounds",
                "exit_code": 4,
                "metadata": {MetadataKey.INVOCATION.value: "llamacpp --model x"},
            }
        }
    )
    made = _triage(report)
    (gateway,) = made.gateways
    assert (gateway.gateway, gateway.state) == (Gateway.G1, GatewayState.FAILED)
    assert "the file is truncated" in gateway.reasons[0]
    assert gateway.likely
    assert gateway.next == f"aprqa run playbooks/tiny.playbook.yaml --only '{GGUF}'"
    (cause,) = made.causes
    (quote,) = cause.quotes
    assert quote.reason == "the file is truncated"
    assert quote.log == "llama: tensor 7 is out of bounds"
    assert (quote.exit_code, quote.outcome) == (4, "Falsified")
    assert quote.invocation == "llamacpp --model x"
    assert cause.likely == cause.next == ""


def test_a_gateway_that_nothing_speaks_of_has_no_likely_cause(make: "Report") -> None:
    changes = {f"{cell}#G3-STABLE": None for cell in (GGUF, "tiny:run-cpu-safetensors")}
    (gateway,) = _triage(make(dict(changes))).gateways
    assert gateway.state is GatewayState.NOT_EVALUATED
    assert gateway.likely == ()
    assert gateway.next == ""


def test_a_gate_is_named_in_the_command(make: "Report") -> None:
    change = {"outcome": Outcome.FALSIFIED, "reason": "another digest"}
    (gateway,) = _triage(make({f"{GGUF}#G0-DIGEST-001": change})).gateways
    assert gateway.next.startswith("aprqa gates G0-DIGEST-001, then ")


def test_without_a_path_the_command_has_a_place_for_it(make: "Report") -> None:
    change = {"outcome": Outcome.FALSIFIED, "reason": "File not found"}
    made = _triage(make({f"{GGUF}#G1-LOAD": change}), path=None)
    assert made.causes[0].next == "aprqa fetch PLAYBOOK"
    assert made.causes[0].likely


def test_quotes_are_bounded_and_on_one_line(make: "Report") -> None:
    change = {
        "outcome": Outcome.FALSIFIED,
        "reason": "wrong\n::error::" + "r" * 5000,
        "output": "a\x1b[31m" + "o" * 5000,
        "stderr": "l" * 5000 + "\nthe end",
    }
    report = make({f"{GGUF}#{number:03d}": change for number in (1, 2, 3)})
    (cause,) = _triage(report).causes
    assert cause.failures == 3
    for quote in cause.quotes:
        for text in (quote.reason, quote.answer, quote.log):
            assert len(text) < 500
            assert "\n" not in text
            assert "\x1b" not in text
        assert quote.log.endswith("the end")


def test_at_most_three_records_are_quoted(make: "Report") -> None:
    change = {"outcome": Outcome.FALSIFIED, "reason": "wrong"}
    report = make({f"{GGUF}#{number:03d}": change for number in range(1, 7)}, prompts=6)
    (cause,) = _triage(report).causes
    assert (cause.failures, len(cause.quotes)) == (6, 3)


def test_nothing_is_quoted_that_is_not_recorded(corpus_reports: list[RunReport]) -> None:
    for report in corpus_reports:
        by_name = {each.name: each for each in report.scenarios}
        for cause in _triage(report, None).causes:
            for quote in cause.quotes:
                record = by_name[quote.scenario].record
                assert record is not None
                assert quote.record == record.id
                assert quote.exit_code == record.exit_code
