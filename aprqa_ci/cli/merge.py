"""``aprqa merge``."""

import os
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.bundle import Bundle
from aprqa_ci.certification.steps import merge_each
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import (
    attempt_lines,
    console,
    raise_for_verdicts,
    show_failures,
    show_paths,
    show_score,
    write_out,
)
from aprqa_ci.planning.plan_file import open_plan
from aprqa_ci.scoring.score import Verdict

__all__ = ["merge"]

MOST_WORKERS = 64


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
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    help="How many processes work at the same time; as many as there are processors if not given.",
)
def merge(
    *, directories: tuple[Path, ...], plan_path: Path, output: Path, workers: int | None
) -> None:
    """Merge the evidence of shards, prove that it is complete, and write the bundles.

    Of each shard the newest complete attempt counts; a scenario whose attempts ended in different
    ways is flaky. What is missing is named, and without it there is no verdict.
    """
    out = console()
    attempts, told = merge_each(
        directories,
        open_plan(plan_path),
        out=output,
        told=lambda bundle: _told(out, bundle),
        processes=workers or min(os.cpu_count() or 1, MOST_WORKERS),
    )
    for line in attempt_lines(attempts):
        out.print(Text(line))
    for name in attempts.missing_shards:
        out.print(Text(f"missing: shard {name}"))
    verdicts = []
    for text, verdict in told:
        write_out(text)
        verdicts.append(verdict)
    raise_for_verdicts(verdicts)


def _told(out: Console, bundle: Bundle) -> tuple[str, Verdict]:
    """Return what is shown of a bundle, as that console would print it, and the verdict."""
    with out.capture() as captured:
        out.print()
        show_score(out, bundle.score)
        show_failures(out, bundle.score)
        show_paths(out, [bundle.directory])
    return captured.get(), bundle.score.verdict
