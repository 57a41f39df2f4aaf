"""``aprqa attest``."""

from pathlib import Path

import click

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.certification.statement import statement_bytes, statement_of
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import console, show_paths, write_out
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import write_atomic

__all__ = ["attest"]


@click.command()
@click.argument("bundle", type=existing_directory)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the statement goes; it is printed if absent.",
)
@click.option("--url", default="", help="The address of the run that made the bundle.")
def attest(*, bundle: Path, output: Path | None, url: str) -> None:
    """Write what a bundle says as an in-toto statement with the test-result predicate.

    It names the files of the bundle and of the model by SHA-256. Nothing is signed here: the
    reusable workflow does that with GitHub's attestation action. The evidence is scored again
    first. Exit code 3 when there is no verdict to state.
    """
    data = statement_bytes(statement_of(read_bundle(bundle), url=url))
    if output is None:
        write_out(data.decode())
        return
    try:
        write_atomic(output, data)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise InputError(Problem(what=what, path=output)) from error
    show_paths(console(), [output])
