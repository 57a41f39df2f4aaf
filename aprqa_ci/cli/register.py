"""``aprqa register``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.certification.registering import register_bundle
from aprqa_ci.cli.options import existing_directory, replace_better_option
from aprqa_ci.cli.output import console
from aprqa_ci.errors import InconclusiveError, InputError, Problem

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
@replace_better_option
def register(*, bundle: Path, registry: Path, readme: Path, replace_better: bool) -> None:
    """Update models.csv and the README table from a bundle.

    Only the row of the certified model changes, and in it only what was measured. An inconclusive
    certificate changes nothing, and neither does one that is no better evidence than what stands.
    """
    out = console()
    change = register_bundle(
        read_bundle(bundle), registry=registry, readme=readme, replace_better=replace_better
    )
    if change is None:
        msg = f"the certificate comes to no verdict; {registry} is as it was"
        raise InconclusiveError(msg)
    if change.declined:
        what = f"{change.declined}; {registry} is as it was"
        raise InputError(Problem(what=what, hint="--replace-better registers it all the same"))
    if not change.cells:
        out.print(Text(f"{registry} says all of it already"))
    for cell in change.cells:
        out.print(Text(f"  {cell.column}: {cell.old or '(empty)'} -> {cell.new}"))
