import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aprqa_ci.reports.junit import render_junit
from aprqa_ci.reports.run_report import RunReport
from aprqa_ci.vocabulary import Outcome

Report = Callable[..., RunReport]

CELL = "tiny:run-cpu-gguf-q8_0"
LEGAL = re.compile("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def check_shape(data: bytes) -> ET.Element:
    """Hold a file against the rules of the common JUnit schema and return its root."""
    root = ET.fromstring(data)  # noqa: S314 - our own output
    assert root.tag == "testsuites"
    assert LEGAL.fullmatch(data.decode())
    sums = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(suite.attrib)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        assert suite[0].tag == "properties"
        for entry in suite[0]:
            assert (entry.tag, sorted(entry.attrib)) == ("property", ["name", "value"])
        cases = suite[1:]
        assert all(case.tag == "testcase" for case in cases)
        assert all(set(case.attrib) == {"name", "classname", "time"} for case in cases)
        names = [(case.get("classname"), case.get("name")) for case in cases]
        assert len(set(names)) == len(names)
        told = [child for case in cases for child in case if child.tag == "system-out"]
        assert all(child.text for child in told)
        found = [child for case in cases for child in case if child.tag != "system-out"]
        assert len(found) == sum(any(child in found for child in case) for case in cases)
        assert all(child.tag in {"failure", "error", "skipped"} for child in found)
        assert all("message" in child.attrib for child in found)
        assert all(child.get("type") for child in found if child.tag != "skipped")
        for key, tag in {"failures": "failure", "errors": "error", "skipped": "skipped"}.items():
            assert int(suite.get(key, "")) == sum(child.tag == tag for child in found)
            sums[key] += int(suite.get(key, ""))
        assert int(suite.get("tests", "")) == len(cases)
        sums["tests"] += len(cases)
        total = sum(float(case.get("time", "")) for case in cases)
        assert float(suite.get("time", "")) == pytest.approx(total)
    assert {key: int(root.get(key, "")) for key in sums} == sums
    return root


def case_of(root: ET.Element, name: str) -> ET.Element:
    found = root.find(f".//testcase[@name='{name}']")
    assert found is not None
    return found


def test_a_flaky_case_tells_how_each_attempt_ended(make: Report) -> None:
    name = f"{CELL}#001"
    wrong = {"outcome": Outcome.FALSIFIED, "reason": "5 is \x1b[31mwrong"}
    root = check_shape(render_junit([make({name: wrong}, again={name: {}})]))
    case = case_of(root, name)
    assert [child.tag for child in case] == ["failure", "system-out"]
    assert case.findtext("system-out") == (
        "flaky: attempt 1 Falsified, attempt 2 Corroborated\n"
        "attempt 1 Falsified: 5 is wrong\n"
        "attempt 2 Corroborated: 4 is right"
    )
    assert root.find(".//property[@name='flaky']").get("value") == "1"  # type: ignore[union-attr] # it is there
    assert case_of(root, f"{CELL}#002").find("system-out") is None


def test_each_outcome_has_its_element(make: Report) -> None:
    report = make(
        {
            f"{CELL}#001": {"outcome": Outcome.FALSIFIED, "reason": "5 is wrong", "output": "5"},
            f"{CELL}#002": {"outcome": Outcome.TIMEOUT, "reason": "over 1000 ms", "output": ""},
            f"{CELL}#003": {
                "outcome": Outcome.CRASHED,
                "reason": "SIGSEGV",
                "exit_code": -11,
                "stderr": "segfault at 0",
            },
            f"{CELL}#004": None,
            f"{CELL}#005": {
                "outcome": Outcome.SKIPPED,
                "reason": "no memory",
                "cause": "infrastructure:memory",
            },
        },
        prompts=6,
    )
    root = check_shape(render_junit([report]))
    suite = root[0]
    assert (suite.get("name"), suite.get("tests")) == ("tiny", "24")
    assert [suite.get(key) for key in ("failures", "errors", "skipped")] == ["1", "3", "1"]
    assert suite.get("timestamp") == "2026-11-02T10:00:00"

    wrong = case_of(root, f"{CELL}#001")
    assert (wrong.get("classname"), wrong.get("time")) == (CELL, "0.250")
    assert (wrong[0].tag, wrong[0].get("type")) == ("failure", "Falsified")
    assert wrong[0].get("message") == "5 is wrong"
    for fact in ("gate: F-A1-001", "reason: 5 is wrong", "prompt: What is 2+2?", "answer: 5"):
        assert fact in (wrong[0].text or "").split("\n")
    late = case_of(root, f"{CELL}#002")[0]
    assert (late.tag, late.get("type")) == ("error", "Timeout")
    dead = case_of(root, f"{CELL}#003")[0]
    assert (dead.tag, dead.get("type")) == ("error", "Crashed")
    assert "exit code: -11" in (dead.text or "")
    assert "stderr: segfault at 0" in (dead.text or "")
    missing = case_of(root, f"{CELL}#004")[0]
    assert (missing.tag, missing.get("type")) == ("error", "Missing")
    assert "no record" in (missing.get("message") or "")
    skipped = case_of(root, f"{CELL}#005")[0]
    assert (skipped.tag, skipped.get("message")) == ("skipped", "infrastructure:memory: no memory")
    assert len(case_of(root, f"{CELL}#006")) == 0


def test_the_verdict_is_among_the_properties(make: Report) -> None:
    root = check_shape(render_junit([make({f"{CELL}#G1-LOAD": {"outcome": Outcome.FALSIFIED}})]))
    values = {entry.get("name"): entry.get("value") for entry in root[0][0]}
    assert values["model"] == "org/tiny-1M"
    assert (values["status"], values["mqs"], values["grade"]) == ("BLOCKED", "0", "F")
    assert (values["gateway.G0"], values["gateway.G1"]) == ("passed", "failed")
    assert values["evidence_digest"] == "e" * 64


def test_several_playbooks_are_several_suites(make: Report) -> None:
    root = check_shape(render_junit([make(), make()]))
    assert [suite.tag for suite in root] == ["testsuite", "testsuite"]
    assert root.get("tests") == "36"
    assert float(root.get("time", "")) == pytest.approx(9.0)


def test_long_texts_are_cut(make: Report) -> None:
    report = make(
        {
            f"{CELL}#001": {
                "outcome": Outcome.CRASHED,
                "reason": "é" * 9000,
                "output": "\x1b[31m" + "ß" * 90_000,
                "stderr": "x" * 90_000,
            }
        }
    )
    error = case_of(check_shape(render_junit([report])), f"{CELL}#001")[0]
    text = error.text or ""
    assert 4000 < len(text.encode()) <= 4096
    assert text.endswith("…")
    assert len((error.get("message") or "").encode()) <= 512


anything = st.text(st.characters(exclude_categories=()), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(reason=anything, output=anything, stderr=anything, prompt=anything, cause=anything)
def test_no_text_makes_invalid_xml(make: Report, **texts: str) -> None:
    cause = texts.pop("cause")
    changes: dict[str, dict[str, Any] | None] = {
        f"{CELL}#{number:03d}": {**texts, "outcome": outcome}
        for number, outcome in enumerate((Outcome.FALSIFIED, Outcome.CRASHED, Outcome.SKIPPED), 1)
    }
    changes[f"{CELL}#003"] = {"outcome": Outcome.SKIPPED, "reason": texts["reason"], "cause": cause}
    root = check_shape(render_junit([make(changes)]))
    assert "\x1b" not in "".join(root.itertext())


def test_a_run_without_a_start_has_no_timestamp(make: Report) -> None:
    every = {entry.score.scenario: {"timestamp": "0000"} for entry in make().scenarios}
    root = ET.fromstring(render_junit([make(every)]))  # noqa: S314 - our own output
    assert root[0].get("timestamp") is None


def test_real_evidence_gives_valid_xml(corpus_reports: list[RunReport]) -> None:
    root = check_shape(render_junit(corpus_reports))
    assert len(root) == len(corpus_reports)
    assert int(root.get("failures", "")) > 0
