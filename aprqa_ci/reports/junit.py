"""JUnit XML: the outcomes for everything that shows test results.

The format has no standard. This is the subset that Jenkins' ``junit-10.xsd`` and the readers of
GitHub, GitLab and Azure agree on: suites with counts, properties first, at most one of ``failure``,
``error`` and ``skipped`` in a case.

Falsified is a failure. Crashed, Timeout and a planned scenario without a record are errors. Skipped
is skipped; how it counts is for the certificate to say, so the suite's properties name the status.
Of a flaky scenario, which ends as the policy has it, ``system-out`` tells how each attempt ended.
"""

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from aprqa_ci.plain_text import one_line, visible
from aprqa_ci.reports.run_report import ReportedScenario, RunReport
from aprqa_ci.scoring.ledger import NO_RECORD
from aprqa_ci.scoring.score import FlakyScenario
from aprqa_ci.vocabulary import Outcome

__all__ = ["render_junit"]

_MAX_TEXT_BYTES = 4096
_MAX_MESSAGE_BYTES = 512
_MAX_NAME_BYTES = 1024

_DECLARATION = "<?xml version='1.0' encoding='utf-8'?>"

_ERROR_TYPES = {Outcome.CRASHED: "Crashed", Outcome.TIMEOUT: "Timeout", None: "Missing"}


def render_junit(reports: Sequence[RunReport]) -> bytes:
    """Return the bytes of a JUnit XML file, one suite a playbook.

    Every text is made fit for XML 1.0: escape sequences are dropped, characters that XML forbids
    are shown as what they are, and a long text is cut.
    """
    root = ET.Element("testsuites")
    for report in reports:
        root.append(_suite(report))
    for name in ("tests", "failures", "errors", "skipped"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    ET.indent(root)
    # Written as text, in one piece: encoding every small piece by itself takes twice as long.
    text: str = ET.tostring(root, encoding="unicode")
    return f"{_DECLARATION}\n{text}\n".encode(errors="xmlcharrefreplace")


def _suite(report: RunReport) -> ET.Element:
    certificate = report.certificate
    flaky = {entry.scenario: entry for entry in report.score.flaky}
    cases = [_case(entry, flaky.get(entry.score.scenario)) for entry in report.scenarios]
    ends = Counter(end.tag for case in cases for end in case)
    suite = ET.Element(
        "testsuite",
        {
            "name": _attribute(certificate.playbook.name, _MAX_NAME_BYTES),
            "tests": str(len(cases)),
            "failures": str(ends["failure"]),
            "errors": str(ends["error"]),
            "skipped": str(ends["skipped"]),
            "time": f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
        },
    )
    if started := _timestamp(certificate.started):
        suite.set("timestamp", started)
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report):
        text = _attribute(value, _MAX_NAME_BYTES)
        ET.SubElement(properties, "property", {"name": name, "value": text})
    suite.extend(cases)
    return suite


def _properties(report: RunReport) -> Iterator[tuple[str, str]]:
    certificate = report.certificate
    yield "model", certificate.model.hf_repo
    yield "status", certificate.status.value
    yield "mqs", str(certificate.mqs)
    yield "grade", certificate.grade
    yield "tier", certificate.tier
    yield "certified_tier", certificate.certified_tier
    for gateway, result in sorted(certificate.gateways.items()):
        yield f"gateway.{gateway}", result.state.value
    yield "flaky", str(len(certificate.flaky))
    yield "plan_digest", certificate.plan_digest
    yield "evidence_digest", certificate.evidence_digest
    yield "tool_version", certificate.tool_version


def _case(entry: ReportedScenario, flaky: FlakyScenario | None) -> ET.Element:
    score, record = entry.score, entry.record
    milliseconds = 0 if record is None else max(0, record.metrics.duration_ms)
    case = ET.Element(
        "testcase",
        {
            "name": _attribute(entry.name, _MAX_NAME_BYTES),
            "classname": _attribute(score.cell, _MAX_NAME_BYTES),
            "time": f"{milliseconds / 1000:.3f}",
        },
    )
    match score.outcome:
        case Outcome.SKIPPED:
            cause = f"{score.cause}: {score.reason}" if score.cause else score.reason
            ET.SubElement(case, "skipped", {"message": _attribute(cause, _MAX_MESSAGE_BYTES)})
        case Outcome.FALSIFIED:
            message = _attribute(score.reason, _MAX_MESSAGE_BYTES)
            failure = ET.SubElement(case, "failure", {"message": message, "type": "Falsified"})
            failure.text = _facts(entry)
        case Outcome.CRASHED | Outcome.TIMEOUT | None:
            text = score.reason
            if score.outcome is None:
                why = "" if text == NO_RECORD else f": {text}"
                text = f"planned, and the evidence has no record of it{why}"
            message = _attribute(text, _MAX_MESSAGE_BYTES)
            kind = _ERROR_TYPES[score.outcome]
            error = ET.SubElement(case, "error", {"message": message, "type": kind})
            error.text = _facts(entry)
        case Outcome.CORROBORATED:
            pass
    if flaky is not None:
        ET.SubElement(case, "system-out").text = _flaky_text(flaky)
    return case


def _flaky_text(flaky: FlakyScenario) -> str:
    lines = [f"flaky: {flaky.ends_text}"]
    lines += [f"attempt {end.attempt} {end.outcome}: {end.reason}" for end in flaky.ends]
    return _cut(visible("\n".join(lines)), _MAX_TEXT_BYTES)


def _facts(entry: ReportedScenario) -> str:
    """Return what is known of a failure, as far as it fits."""
    lines = [f"gate: {entry.score.gate_id}"]
    if entry.gate is not None:
        lines += [f"to be shown: {entry.gate.meaning}", f"look at: {entry.gate.remedy}"]
    if (record := entry.record) is not None:
        lines.append(f"reason: {record.reason}")
        if record.exit_code is not None:
            lines.append(f"exit code: {record.exit_code}")
        lines += [f"prompt: {record.scenario.prompt}", f"answer: {record.output}"]
        if record.stderr:
            lines.append(f"stderr: {record.stderr}")
    return _cut(visible("\n".join(line[:_MAX_TEXT_BYTES] for line in lines)), _MAX_TEXT_BYTES)


def _attribute(text: str, limit: int) -> str:
    return _cut(one_line(text), limit)


def _cut(text: str, limit: int) -> str:
    """Keep at most ``limit`` bytes of UTF-8, with an ellipsis where some are left out."""
    if len(text) <= limit and text.isascii():
        return text
    data = text.encode()
    if len(data) <= limit:
        return text
    return data[: limit - len("…".encode())].decode(errors="ignore") + "…"


def _timestamp(text: str | None) -> str | None:
    """Return a time the way the schema has it: UTC, whole seconds, no zone."""
    try:
        time = datetime.fromisoformat(text or "")
        time = time.astimezone(UTC) if time.tzinfo else time
    except (ValueError, OverflowError):
        return None
    return time.replace(tzinfo=None).isoformat(timespec="seconds")
