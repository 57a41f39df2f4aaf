"""``aprqa doctor``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.examining import examine
from aprqa_ci.cli.output import console, write_out
from aprqa_ci.plain_text import one_line
from aprqa_ci.wire import pretty_json

__all__ = ["doctor"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--registry",
    type=click.Path(path_type=Path),
    help="The models.csv.  [default: PATH/docs/certifications/models.csv]",
)
@click.option(
    "--certifications",
    type=click.Path(path_type=Path),
    help="Where the evidence is.  [default: PATH/certifications]",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def doctor(
    *, path: Path, registry: Path | None, certifications: Path | None, as_json: bool
) -> None:
    """List what contradicts itself in models.csv and the evidence beside it.

    PATH is the root of the repository. Damaged rows and evidence of other tools are looked at as
    well. Nothing is changed. Exit code 1 when anything was found, 2 when there is no registry.
    """
    found = examine(
        registry or path / "docs" / "certifications" / "models.csv",
        certifications or path / "certifications",
    )
    if as_json:
        write_out(pretty_json(found).decode())
    else:
        out = console()
        for finding in found.findings:
            out.print(Text(one_line(str(finding))), soft_wrap=True)
        subjects = len({finding.subject for finding in found.findings})
        out.print(
            Text(
                f"{found.rows} rows, evidence in {found.evidence} directories: "
                f"{len(found.findings)} findings "
                f"on {subjects} subjects"
            )
        )
    if found.findings:
        raise click.exceptions.Exit(1)
