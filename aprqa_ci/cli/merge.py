"""``aprqa merge``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import read_plan
from aprqa_ci.certification.steps import merge_each
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import (
    attempt_lines,
    console,
    raise_for_verdicts,
    show_failures,
    show_paths,
    show_score,
)

__all__ = ["merge"]


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=existing_directory)
@click.option(
    "--plan",
    "plan_path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The plan that the shards ran.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Where the bundles go.",
)
def merge(*, directories: tuple[Path, ...], plan_path: Path, output: Path) -> None:
    """Merge the evidence of shards, prove that it is complete, and write the bundles.

    Of each shard the newest complete attempt counts; a scenario whose attempts ended in different
    ways is flaky. What is missing is named, and without it there is no verdict.
    """
    attempts, bundles = merge_each(directories, read_plan(plan_path), out=output)
    out = console()
    for line in attempt_lines(attempts):
        out.print(Text(line))
    for name in attempts.missing_shards:
        out.print(Text(f"missing: shard {name}"))
    verdicts = []
    for bundle in bundles:
        out.print()
        show_score(out, bundle.score)
        show_failures(out, bundle.score)
        show_paths(out, [bundle.directory])
        verdicts.append(bundle.score.verdict)
    raise_for_verdicts(verdicts)
