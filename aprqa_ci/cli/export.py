"""``aprqa export``."""

from pathlib import Path

import click

from aprqa_ci.cli.output import console, show_paths
from aprqa_ci.cli.scored_runs import evidence_argument
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.evidence.reading import read_evidence
from aprqa_ci.files import atomic_stream
from aprqa_ci.reports.export_csv import write_csv
from aprqa_ci.reports.export_json import write_object
from aprqa_ci.reports.export_parquet import require_parquet, write_parquet

__all__ = ["export"]

_WRITERS = {"csv": write_csv, "parquet": write_parquet, "json": write_object}


@click.command()
@evidence_argument
@click.option(
    "--to",
    "form",
    type=click.Choice(list(_WRITERS)),
    required=True,
    help="csv: a table, one record a row; parquet: the same, typed; json: the object form that the "
    "existing tool's export-evidence reads.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The file to write; one that is there is replaced in one step.",
)
def export(*, evidence: Path, form: str, output: Path) -> None:
    """Export the records of an evidence file or a bundle for other programs.

    Every record is in it, whatever its outcome; nothing is scored.
    """
    if form == "parquet":
        require_parquet()
    records = read_evidence(evidence)
    try:
        with atomic_stream(output) as stream:
            _WRITERS[form](stream, records)
    except OSError as error:
        what = f"cannot write the file: {error.strerror or error}"
        raise InputError(Problem(what=what, path=output)) from error
    show_paths(console(), [output])
