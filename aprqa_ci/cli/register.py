"""``aprqa register``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.certification.steps import register_bundle
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import console
from aprqa_ci.errors import InconclusiveError

__all__ = ["register"]


@click.command()
@click.argument("bundle", type=existing_directory)
@click.option(
    "--registry",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("docs/certifications/models.csv"),
    show_default=True,
    help="The models.csv to update.",
)
@click.option(
    "--readme",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("README.md"),
    show_default=True,
    help="The README whose table is updated, if it has one.",
)
def register(*, bundle: Path, registry: Path, readme: Path) -> None:
    """Update models.csv and the README table from a bundle.

    Only the row of the certified model changes, and in it only what was measured. An inconclusive
    certificate changes nothing.
    """
    out = console()
    change = register_bundle(read_bundle(bundle), registry=registry, readme=readme)
    if change is None:
        msg = f"the certificate comes to no verdict; {registry} is as it was"
        raise InconclusiveError(msg)
    if not change.cells:
        out.print(Text(f"{registry} says all of it already"))
    for cell in change.cells:
        out.print(Text(f"  {cell.column}: {cell.old or '(empty)'} -> {cell.new}"))
