"""The sections of the Markdown report, each a bounded text with its heading, or nothing."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from aprqa_ci.markdown import (
    Cell,
    Inline,
    bold,
    bullets,
    code_span,
    escape_text,
    fenced,
    heading,
    join,
    table,
)
from aprqa_ci.reports.run_report import ReportedScenario, RunReport
from aprqa_ci.vocabulary import Category, GatewayState, Status

__all__ = [
    "categories_section",
    "cells_section",
    "check_section",
    "coverage_section",
    "derived_notice",
    "findings_section",
    "flaky_section",
    "gateways_section",
    "head_section",
    "obstacles_section",
    "performance_section",
    "placed_out_section",
    "provenance_section",
]

_MAX_ROWS = 60
_MAX_ITEMS = 12
_MAX_SENTENCE = 300

_VERDICTS = {
    Status.CERTIFIED: "The model has earned its certificate.",
    Status.PROVISIONAL: "Good as far as it goes; a run like this cannot certify.",
    Status.BLOCKED: "The model fell short.",
    Status.INCONCLUSIVE: "There is no verdict on the model: the machinery or the machine failed.",
}

_STATES = {
    GatewayState.PASSED: "passed",
    GatewayState.FAILED: bold("failed"),
    GatewayState.NOT_EVALUATED: bold("not evaluated"),
}


def head_section(report: RunReport) -> str:
    """Return title and verdict."""
    certificate = report.certificate
    rate, coverage = certificate.pass_rate, certificate.coverage
    verdict = join(
        " · ",
        [
            bold(certificate.status.value),
            join(" ", ["MQS", bold(str(certificate.mqs)), "of 1000"]),
            join(" ", ["grade", bold(certificate.grade)]),
            join(" ", ["tier", code_span(certificate.tier)]),
        ],
    )
    share = (
        f"{rate.corroborated} of {rate.planned} planned scenarios are corroborated: "
        f"{rate.rate:.1%} (95 % interval {rate.low:.1%} to {rate.high:.1%}); "
        f"{coverage.recorded} of {coverage.planned} have a record."
    )
    title = join(" ", ["Certification of", code_span(certificate.model.hf_repo)])
    notice = derived_notice(report)
    blocks = [heading(1, title), verdict, _VERDICTS[certificate.status], notice, share]
    return "\n\n".join(block for block in blocks if block)


def derived_notice(report: RunReport) -> str:
    """Return what must be known of variants that nobody published; nothing if there are none."""
    made = report.certificate.model.derived
    if not made:
        return ""
    sources = " and ".join(sorted({each.source for each in made.values()}))
    return (
        f"{', '.join(made)}: found nowhere, and made by aprqa-ci of the model's {sources} files. "
        "What is tested of them is our conversion, not a published file."
    )


def obstacles_section(report: RunReport) -> str:
    """Return what stands between the result and a certificate."""
    return _listed("What stands in the way", report.certificate.obstacles)


def gateways_section(report: RunReport, level: int = 2) -> str:
    """Return the five gateways with their reasons, under a heading of that level."""
    rows: list[list[Cell]] = []
    for gateway, result in sorted(report.certificate.gateways.items()):
        reasons = list(result.reasons[:2])
        if (rest := len(result.reasons) - len(reasons)) > 0:
            reasons.append(f"and {rest} more")
        why = join("; ", [escape_text(reason, _MAX_SENTENCE) for reason in reasons])
        rows.append([gateway.value, _STATES[result.state], why])
    return _section("Gateways", table(["Gateway", "State", "Why"], rows), level=level)


def categories_section(report: RunReport, level: int = 2) -> str:
    """Return each category's points, the penalties, and how they come to the score.

    Args:
        report: what is reported.
        level: of the heading.
    """
    certificate = report.certificate
    rows: list[list[Cell]] = []
    for category, result in certificate.categories.items():
        tally = result.tally
        counts = result.maximum > 0
        rows.append(
            [
                category.value,
                f"{result.points:.1f}" if counts else None,
                f"{result.maximum:.1f}" if counts else "does not count",
                tally.planned,
                tally.corroborated,
                tally.falsified,
                tally.timeout,
                tally.crashed,
                tally.skipped,
                tally.missing,
            ]
        )
    headers = ["Category", "Points", "Of", "Planned", "Corroborated", "Falsified", "Timeout"]
    headers += ["Crashed", "Skipped", "Missing"]
    total = f"version {certificate.policy.version}; raw score {certificate.raw}, MQS"
    sums = join(
        " ", ["Policy", code_span(certificate.policy.id), total, bold(str(certificate.mqs))]
    )
    penalties = _penalties([penalty.points for penalty in certificate.penalties])
    body = table(headers, rows, "l" + "r" * 9)
    return _section("Categories", body, sums, penalties, level=level)


def coverage_section(report: RunReport) -> str:
    """Return what has no verdict: skipped by cause, missing, declared and not run."""
    certificate = report.certificate
    coverage = certificate.coverage
    causes: defaultdict[str, list[str]] = defaultdict(list)
    for scenario, cause in coverage.skipped.items():
        causes[cause].append(scenario)
    counts = f"{coverage.planned} planned, {coverage.recorded} recorded"
    body = [f"{counts}, {len(coverage.skipped)} skipped, {len(coverage.missing)} missing."]
    if causes:
        rows: list[list[Cell]] = [
            [escape_text(cause or "no cause is recorded", 120), len(names), _some(names)]
            for cause, names in sorted(causes.items(), key=lambda item: (-len(item[1]), item[0]))
        ]
        shown = table(["Cause", "Skipped", "Scenarios"], rows[:_MAX_ITEMS], "lrl")
        body += [heading(3, "Skipped, by cause"), shown, _more(len(rows) - _MAX_ITEMS)]
    body += _names("Planned, and without a record", coverage.missing)
    body += _names("Declared in the playbook, not run", certificate.declared_not_run)
    return _section("Coverage", *body)


def flaky_section(report: RunReport, level: int = 2) -> str:
    """Return the scenarios whose attempts disagree, under a heading of that level."""
    flaky = report.score.flaky
    if not flaky:
        return ""
    items = [
        join(" ", [code_span(entry.scenario), "–", escape_text(entry.ends_text, _MAX_SENTENCE)])
        for entry in flaky[:_MAX_ITEMS]
    ]
    title = f"Flaky: attempts ended in different ways ({len(flaky)})"
    return _section(title, bullets(items), _more(len(flaky) - _MAX_ITEMS), level=level)


def placed_out_section(report: RunReport, level: int = 2) -> str:
    """Return the cells that no machine was given, under headings of that level."""
    certificate = report.certificate
    sections = []
    for title, cells in (
        ("No runner class has room for it", certificate.unplaced),
        ("Deferred to a run of the repository's own", certificate.deferred),
    ):
        items = [
            join(" ", [code_span(each.cell), "–", escape_text(each.reason, _MAX_SENTENCE)])
            for each in cells[:_MAX_ITEMS]
        ]
        if items:
            more = _more(len(cells) - _MAX_ITEMS)
            sections.append(_section(f"{title} ({len(cells)})", bullets(items), more, level=level))
    return "\n\n".join(sections)


def cells_section(report: RunReport) -> str:
    """Return every cell with what it reached."""
    rows: list[list[Cell]] = []
    for name, cell in report.score.cells.items():
        speed = cell.tokens_per_second
        rows.append(
            [
                code_span(name),
                cell.format.value,
                None if cell.quantization is None else code_span(cell.quantization),
                cell.backend.value,
                cell.modality.value,
                f"{cell.tally.corroborated}/{cell.tally.planned}",
                None if speed is None else f"{speed:.1f}",
            ]
        )
    headers = ["Cell", "Format", "Quantization", "Backend", "Modality", "Corroborated", "tok/s"]
    shown = table(headers, rows[:_MAX_ROWS], "lllllrr")
    return _section("Cells", shown, _more(len(rows) - _MAX_ROWS))


def findings_section(report: RunReport) -> str:
    """Return what is odd about the evidence itself."""
    return _listed("Findings", [finding.text for finding in report.certificate.findings])


def performance_section(report: RunReport) -> str:
    """Return the throughput and every measurement that was compared with a limit."""
    speeds: list[list[Cell]] = [
        [each.format.value, each.backend.value, f"{each.tokens_per_second:.1f}", each.measurements]
        for each in report.certificate.throughput
    ]
    measured = [
        entry
        for entry in report.scenarios
        if entry.score.category is Category.PERF and entry.record
    ]
    rows = list(_measurements(measured))
    if not speeds and not rows:
        return ""
    headers = ["Format", "Backend", "Median tok/s", "Measurements"]
    body = [table(headers, speeds, "llrr")] if speeds else []
    if rows:
        headers = ["Scenario", "Outcome", "tok/s", "First token, ms", "Duration, ms", "Measured"]
        body += [table(headers, rows[:_MAX_ROWS], "llrrrl"), _more(len(rows) - _MAX_ROWS)]
    return _section("Performance", *body)


def provenance_section(report: RunReport) -> str:
    """Return what was tested with what, on what, by digest."""
    certificate = report.certificate
    engines = [f"{name} {version}" for name, version in certificate.engines.items()]
    facts = {
        "Playbook": f"{certificate.playbook.name} {certificate.playbook.version}",
        "Playbook SHA-256": certificate.playbook.digest,
        "Plan SHA-256": certificate.plan_digest,
        "Evidence SHA-256": certificate.evidence_digest,
        "Model revision": certificate.model.revision,
        "Run": certificate.run_id,
        "From": certificate.started,
        "To": certificate.finished,
        "Tool": certificate.tool_version,
        "Engines": ", ".join(engines) or None,
    }
    rows: list[list[Cell]] = [[name, code_span(value)] for name, value in facts.items() if value]
    hosts: list[list[Cell]] = [
        [host.hostname, host.os, host.cpu, host.gpu, host.apr_version] for host in certificate.hosts
    ]
    files: list[list[Cell]] = [
        [variant, escape_text(name), code_span(digest)]
        for variant, entries in certificate.model.files.items()
        for name, digest in entries.items()
    ]
    sources: list[list[Cell]] = [
        [variant, code_span(source.repo), code_span(source.commit)]
        for variant, source in certificate.model.sources.items()
    ]
    made = certificate.model.derived or {}
    derivations: list[list[Cell]] = [
        [variant, each.source, code_span(each.source_digest), code_span(each.tool)]
        for variant, each in made.items()
    ]
    return _section(
        "What was tested, and where",
        table(["What", "Value"], rows),
        table(["Format", "Repository", "Commit"], sources[:_MAX_ROWS]) if sources else "",
        table(["Format", "Made of", "Digest of the source", "Made by"], derivations[:_MAX_ROWS])
        if made
        else "",
        table(["Host", "System", "CPU", "GPU", "Tool"], hosts[:_MAX_ITEMS], limit=80),
        _more(len(hosts) - _MAX_ITEMS),
        table(["Format", "File", "SHA-256"], files[:_MAX_ROWS], limit=100),
        _more(len(files) - _MAX_ROWS),
    )


def check_section(report: RunReport, directory: str) -> str:
    """Return the commands with which anybody computes the score again."""
    place = shlex.quote(directory)
    digest = report.certificate.evidence_digest
    evidence = shlex.quote(f"{directory}/evidence.json")
    lines = [f"aprqa score {place} --explain", f"sha256sum {evidence}  # {digest}"]
    return _section("Check it again", fenced("\n".join(lines), "sh"))


def _measurements(entries: Iterable[ReportedScenario]) -> Iterator[list[Cell]]:
    for entry in entries:
        if entry.record is None:
            continue
        metrics = entry.record.metrics
        speed, first = metrics.tokens_per_second, metrics.time_to_first_token_ms
        yield [
            code_span(entry.name),
            entry.score.outcome_text,
            None if speed is None else f"{speed:.1f}",
            None if first is None else f"{first:.1f}",
            metrics.duration_ms,
            escape_text(entry.score.reason, 120),
        ]


def _penalties(points: Sequence[int]) -> str:
    if not points:
        return ""
    subject = "A penalty" if len(points) == 1 else f"{len(points)} penalties"
    return f"{subject} took {sum(points)} points."


def _section(title: str, *blocks: str, level: int = 2) -> str:
    return "\n\n".join([heading(level, title), *(block for block in blocks if block)])


def _listed(title: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = bullets(escape_text(sentence, _MAX_SENTENCE) for sentence in sentences[:_MAX_ITEMS])
    return _section(title, items, _more(len(sentences) - _MAX_ITEMS))


def _names(title: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    items = bullets(code_span(name) for name in names[:_MAX_ITEMS])
    return [heading(3, f"{title} ({len(names)})"), items, _more(len(names) - _MAX_ITEMS)]


def _some(names: Sequence[str]) -> Inline:
    shown = [code_span(name) for name in names[:3]]
    rest = len(names) - len(shown)
    return join(", ", [*shown, *([f"and {rest} more"] if rest else [])])


def _more(number: int) -> str:
    return f"… {number} more; `report.json` has all of them." if number > 0 else ""
