"""The short report of one or several runs, for places that are small: comments and summaries.

It says what changed before what is; the whole is in ``report.md``. When it does not fit, the tables
go first, then everything but the verdicts and the failures, and then the rest of those is cut.
"""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from aprqa_ci.markdown import Cell, Inline, bold, bullets, code_span, cut, heading, join, table
from aprqa_ci.reports.comparison import Comparison
from aprqa_ci.reports.markdown_sections import (
    categories_section,
    derived_notice,
    flaky_section,
    gateways_section,
    placed_out_section,
)
from aprqa_ci.reports.run_report import ReportedScenario, RunReport

__all__ = ["SummarisedRun", "render_summary", "reproduction", "verdict_line"]

_MAX_ITEMS = 25
_MAX_REASON = 200
_UNVERIFIED = (
    "a fork's run made this evidence, and whoever wrote the fork could have written the evidence "
    "too. It is no certificate, and nothing of it reaches the registry."
)
_CUT = "The rest is too long for this place; the report and the evidence have all of it."


@dataclass(frozen=True, kw_only=True)
class SummarisedRun:
    """One run with what it is compared with."""

    report: RunReport
    comparison: Comparison
    playbook: str
    """The playbook's file, as the commands name it."""


def render_summary(runs: Sequence[SummarisedRun], *, limit: int, unverified: bool = False) -> str:
    """Render runs in at most ``limit`` bytes of UTF-8, well-formed whatever is left out.

    Args:
        runs: one a playbook.
        limit: bytes.
        unverified: say that the evidence is a stranger's.
    """
    steps: tuple[Callable[[SummarisedRun], Iterator[str]], ...] = (_full, _failures)
    text = ""
    for step in steps:
        blocks = [heading(1, "Certification"), bullets(verdict_line(run) for run in runs)]
        if unverified:
            blocks.insert(1, join(" ", [bold("Unverified:"), _UNVERIFIED]))
        for run in runs:
            name = code_span(run.report.certificate.playbook.name)
            body = [block for block in step(run) if block]
            blocks += [heading(2, name), *body] if body else []
        text = "\n\n".join(blocks) + "\n"
        if len(text.encode()) <= limit:
            return text
    return cut(text, limit, note=_CUT)


def verdict_line(run: SummarisedRun) -> Inline:
    """Return a run's verdict on one line, with the earlier one where that was another."""
    now, base = run.report.certificate, run.comparison.base
    parts: list[str] = [
        join(" ", [bold(now.status.value), code_span(now.playbook.name)]),
        join(" ", ["MQS", bold(str(now.mqs)), "of 1000"]),
        join(" ", ["grade", bold(now.grade)]),
        join(" ", ["tier", code_span(now.tier)]),
    ]
    if base is not None and (base.status, base.mqs) != (now.status, now.mqs):
        parts.append(f"was {base.status.value} {base.mqs} ({base.grade})")
    return join(" · ", parts)


def reproduction(run: SummarisedRun, entry: ReportedScenario) -> str:
    """Return the command that runs the scenario's cell again."""
    command = ["aprqa", "run", run.playbook, "--tier", run.report.certificate.tier]
    return shlex.join([*command, "--only", entry.score.cell])


def _full(run: SummarisedRun) -> Iterator[str]:
    yield from _failures(run)
    yield _named("Fixed", run.comparison.fixed)
    yield _named("No longer tested", run.comparison.lost)
    yield gateways_section(run.report, 3)
    yield categories_section(run.report, 3)
    yield _speeds(run.comparison)


def _failures(run: SummarisedRun) -> Iterator[str]:
    comparison = run.comparison
    yield derived_notice(run.report)
    if comparison.base is None:
        yield "There is no earlier certificate to compare with; every failure counts as new."
    elif not comparison.same_questions:
        yield (
            "Playbook, tier or tool are not those of the earlier certificate; scenarios of one "
            "name may ask something else."
        )
    yield _listed("New failures", run, comparison.new)
    yield _listed("Still failing", run, comparison.still)
    yield flaky_section(run.report, 3)
    yield placed_out_section(run.report, 3)
    obstacles = run.report.certificate.obstacles
    if obstacles and not (comparison.new or comparison.still):
        items = [*obstacles[:_MAX_ITEMS], *_rest(len(obstacles))]
        yield "\n\n".join([heading(3, "What stands in the way"), bullets(items)])


def _listed(title: str, run: SummarisedRun, entries: Sequence[ReportedScenario]) -> str:
    if not entries:
        return ""
    items = [
        join(
            " ",
            [
                code_span(entry.name),
                f"– {entry.score.outcome_text}:",
                entry.score.reason[:_MAX_REASON] or "no reason is recorded",
                "– reproduce:",
                code_span(reproduction(run, entry), 400),
            ],
        )
        for entry in entries[:_MAX_ITEMS]
    ]
    return "\n\n".join(
        [heading(3, f"{title} ({len(entries)})"), bullets([*items, *_rest(len(entries))])]
    )


def _named(title: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    items: list[str] = [code_span(name) for name in names[:_MAX_ITEMS]]
    return "\n\n".join(
        [heading(3, f"{title} ({len(names)})"), bullets([*items, *_rest(len(names))])]
    )


def _rest(number: int) -> list[str]:
    return [f"… {number - _MAX_ITEMS} more"] if number > _MAX_ITEMS else []


def _speeds(comparison: Comparison) -> str:
    if not comparison.speeds:
        return ""
    rows: list[list[Cell]] = [
        [
            each.format.value,
            each.backend.value,
            f"{each.before:.1f}",
            f"{each.now:.1f}",
            f"{each.change:+.1%}",
            f"±{each.noise:.0%}",
            "within noise" if each.is_noise else bold("slower" if each.change < 0 else "faster"),
        ]
        for each in comparison.speeds
    ]
    if not comparison.same_machine:
        rows = [[*row[:-1], "another machine"] for row in rows]
    headers = ["Format", "Backend", "tok/s before", "tok/s now", "Change", "Noise", "So"]
    return "\n\n".join([heading(3, "Throughput"), table(headers, rows, "llrrrrl")])
