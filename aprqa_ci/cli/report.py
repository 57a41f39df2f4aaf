"""``aprqa report``."""

from pathlib import Path

import click

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import console, show_paths
from aprqa_ci.reports.write import write_reports

__all__ = ["report"]


@click.command()
@click.argument("bundle", type=existing_directory)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the reports go; the bundle itself if absent.",
)
def report(*, bundle: Path, output: Path | None) -> None:
    """Write the reports of a bundle: Markdown, JSON and JUnit XML.

    The evidence is scored again first; a certificate that it does not give is an error.
    """
    checked = read_bundle(bundle)
    show_paths(console(), write_reports(output or bundle, checked.report))
