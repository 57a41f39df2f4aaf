import json
from collections.abc import Callable

from aprqa_ci.reports.json_report import REPORT_SCHEMA, JsonReport, json_report, render_json
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.vocabulary import Outcome
from aprqa_ci.wire import decode_wire, digest_of

Report = Callable[..., RunReport]


def test_the_report_comes_back_from_its_bytes(make: Report) -> None:
    report = make({"tiny:run-cpu-gguf-q8_0#001": {"outcome": Outcome.FALSIFIED, "reason": "5"}})
    data = render_json(report)
    assert decode_wire(data, JsonReport, source="report.json") == json_report(report)
    assert data.endswith(b"}\n")


def test_certificate_and_outcomes_are_in_it(make: Report) -> None:
    report = make(
        {
            "tiny:run-cpu-gguf-q8_0#001": {"outcome": Outcome.FALSIFIED, "reason": "5 is wrong"},
            "tiny:run-cpu-gguf-q8_0#002": None,
            "tiny:run-cpu-gguf-q8_0#003": {
                "outcome": Outcome.SKIPPED,
                "cause": "infrastructure:memory",
            },
        }
    )
    raw = json.loads(render_json(report))
    assert raw["schema"] == REPORT_SCHEMA
    assert raw["certificate"]["mqs"] == report.certificate.mqs
    assert raw["certificate_digest"] == digest_of(report.certificate)
    by_name = {entry["name"]: entry for entry in raw["scenarios"]}
    assert len(by_name) == 18
    wrong = by_name["tiny:run-cpu-gguf-q8_0#001"]
    assert (wrong["outcome"], wrong["reason"], wrong["earned"]) == (
        "Falsified",
        "5 is wrong",
        False,
    )
    assert (wrong["counts_for"], wrong["duration_ms"]) == ("QUAL", 250)
    missing = by_name["tiny:run-cpu-gguf-q8_0#002"]
    assert (missing["outcome"], missing["records"], missing["duration_ms"]) == ("missing", [], None)
    assert by_name["tiny:run-cpu-gguf-q8_0#003"]["cause"] == "infrastructure:memory"
    speed = by_name["tiny:run-cpu-gguf-q8_0#F-PERF-TPS-001"]
    assert (speed["tokens_per_second"], speed["time_to_first_token_ms"]) == (48.26, 12.5)
