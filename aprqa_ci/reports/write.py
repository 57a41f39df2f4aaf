"""Writing the three reports beside the evidence."""

from pathlib import Path

from aprqa_ci.files import unwritable, write_atomic
from aprqa_ci.reports.json_report import render_json
from aprqa_ci.reports.junit import render_junit
from aprqa_ci.reports.markdown_report import render_markdown
from aprqa_ci.reports.run_report import RunReport

__all__ = ["report_contents", "write_reports"]


def write_reports(
    directory: Path, report: RunReport, *, place: str | None = None
) -> tuple[Path, ...]:
    """Write ``report.md``, ``report.json`` and ``junit.xml``, each in one step.

    Args:
        directory: where to write.
        report: what to report.
        place: the evidence's directory as the commands in the report name it.

    Returns:
        The paths written, in that order.

    Raises:
        InputError: the directory cannot be written.
        InconclusiveError: the disk is full, failing or read-only.
    """
    contents = report_contents(report, place=place)
    try:
        for name, data in contents.items():
            write_atomic(directory / name, data)
    except OSError as error:
        raise unwritable(directory, error, what="cannot write the reports") from error
    return tuple(directory / name for name in contents)


def report_contents(report: RunReport, *, place: str | None = None) -> dict[str, bytes]:
    """Return the three reports by file name. Pure.

    Args:
        report: what to report.
        place: the evidence's directory as the commands in the report name it.
    """
    return {
        "report.md": render_markdown(report, directory=place).encode(),
        "report.json": render_json(report),
        "junit.xml": render_junit([report]),
    }
