"""``report.md``: the certification for people, what stands in its way first."""

from aprqa_ci.markdown import heading
from aprqa_ci.reports.markdown_failures import failures_section
from aprqa_ci.reports.markdown_sections import (
    categories_section,
    cells_section,
    check_section,
    coverage_section,
    findings_section,
    flaky_section,
    gateways_section,
    head_section,
    obstacles_section,
    performance_section,
    placed_out_section,
    provenance_section,
)
from aprqa_ci.reports.run_report import RunReport

__all__ = ["DEFAULT_LIMIT", "LEAST_LIMIT", "render_markdown"]

DEFAULT_LIMIT = 60_000
"""Characters; what GitHub takes as a comment (65 536), with room for what is put around it."""

LEAST_LIMIT = 8_000
"""Characters; below this not even the verdict would be sure to fit."""

_FAILURE_ROOM = 4_000


def render_markdown(
    report: RunReport, *, limit: int = DEFAULT_LIMIT, directory: str | None = None
) -> str:
    """Render the report.

    Everything that somebody else wrote is quoted, cut and made harmless. When the whole does not
    fit, failures are left out from the last one on, then whole sections; what is left out is said.

    Args:
        report: what to report.
        limit: the most characters of the result.
        directory: where the evidence is, for the commands that check it again;
            ``certifications/<playbook>`` when not given.

    Raises:
        ValueError: the limit is below ``LEAST_LIMIT``.
    """
    if limit < LEAST_LIMIT:
        what = f"the limit must be at least {LEAST_LIMIT} characters, not {limit}"
        raise ValueError(what)
    place = directory or f"certifications/{report.certificate.playbook.name}"
    sections = {
        "head": head_section(report),
        "obstacles": obstacles_section(report),
        "gateways": gateways_section(report),
        "categories": categories_section(report),
        "flaky": flaky_section(report),
        "placed_out": placed_out_section(report),
        "coverage": coverage_section(report),
        "cells": cells_section(report),
        "failures": "",
        "findings": findings_section(report),
        "performance": performance_section(report),
        "provenance": provenance_section(report),
        "check": check_section(report, place),
    }
    # Failures come before the detail that programs read better, in the order it is given up.
    wanted = _FAILURE_ROOM if any(entry.is_failure for entry in report.scenarios) else 0
    for name in _GIVEN_UP:
        if _length(sections) + wanted <= limit:
            break
        if sections[name]:
            sections[name] = _LEFT_OUT[name]
    sections["failures"] = failures_section(report, limit - _length(sections))
    return "\n\n".join(text for text in sections.values() if text) + "\n"


_TITLES = {
    "performance": "Performance",
    "cells": "Cells",
    "provenance": "What was tested, and where",
    "coverage": "Coverage",
    "findings": "Findings",
    "check": "Check it again",
    "placed_out": "Cells that no machine was given",
    "flaky": "Flaky: attempts ended in different ways",
    "categories": "Categories",
    "gateways": "Gateways",
    "obstacles": "What stands in the way",
}
_GIVEN_UP = tuple(_TITLES)
_LEFT_OUT = {
    name: f"{heading(2, title)}\n\nToo long for this place; `report.json` has it."
    for name, title in _TITLES.items()
}


def _length(sections: dict[str, str]) -> int:
    """Return the length of the whole, blank lines and the last line end included."""
    return sum(len(text) + 2 for text in sections.values() if text)
