"""``aprqa plan``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.certification.steps import Surroundings, make_plan
from aprqa_ci.cli.listing import list_ids
from aprqa_ci.cli.options import plan_options, playbooks_argument
from aprqa_ci.cli.output import console
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import write_atomic
from aprqa_ci.plain_text import visible
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.matrix import MAX_JOBS, matrix_of
from aprqa_ci.planning.plan import PlacedOut, Plan, plan_digest
from aprqa_ci.planning.plan_file import write_plan
from aprqa_ci.planning.runner_classes import (
    RUNNERS_PATH,
    RunnerClass,
    default_runners,
    read_runners,
)

__all__ = ["plan"]

MAX_SHARDS = MAX_JOBS * MAX_JOBS
"""A matrix of matrices holds no more."""

_MOST_REASONS = 10


@click.command()
@playbooks_argument
@plan_options
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the plan to this file.",
)
@click.option("--print", "print_ids", is_flag=True, help="List the ids of cells and scenarios.")
@click.option(
    "--shards",
    type=click.IntRange(1, MAX_SHARDS),
    help="Pack the cells into at most so many shards; 1 when nothing else is said of shards.",
)
@click.option(
    "--target-minutes",
    type=click.FloatRange(0, min_open=True),
    help="Pack the cells into shards that take about so long; 20 with --runners.",
)
@click.option(
    "--max-shards",
    type=click.IntRange(1, MAX_SHARDS),
    help="At most so many shards, whatever the target; 256 when not given.",
)
@click.option(
    "--runners",
    metavar="FILE|default",
    help=f"The classes of machines that shards are for, as in {RUNNERS_PATH}, or GitHub's own.",
)
@click.option(
    "--fork",
    is_flag=True,
    help="Plan for a fork's pull request: nothing goes to GPU or self-hosted machines.",
)
@click.option(
    "--matrix",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the matrix of GitHub's jobs to this file.",
)
@click.option(
    "--certifications",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certifications"),
    show_default=True,
    help="Where earlier certificates lie, to compare with, and what cells took.",
)
def plan(
    *,
    playbooks: tuple[str, ...],
    options: PlanOptions,
    output: Path | None,
    print_ids: bool,
    shards: int | None,
    target_minutes: float | None,
    max_shards: int | None,
    runners: str | None,
    fork: bool,
    matrix: Path | None,
    certifications: Path,
) -> None:
    """Expand playbooks into scenarios and pack them into shards."""
    _require_sense(
        output=output is not None or print_ids or matrix is not None,
        exact=shards is not None,
        target=target_minutes is not None or max_shards is not None,
        fork=fork and runners is None,
    )
    if shards is None and target_minutes is None and max_shards is None and runners is None:
        shards = 1
    made = make_plan(
        playbooks,
        options=replace(
            options,
            shards=shards,
            target_minutes=target_minutes,
            max_shards=max_shards,
            runners=_runner_classes(runners),
            fork=fork,
        ),
        surroundings=Surroundings(),
        certifications=certifications,
    )
    jobs = matrix_of(made).text if matrix is not None else ""
    out = console()
    if print_ids:
        list_ids(out, made)
    if output is not None:
        write_plan(output, made)
        _show(out, made)
        out.print(Text(f"  wrote {output}"))
    if matrix is not None:
        write_atomic(matrix, f"{jobs}\n".encode())
        out.print(Text(f"  wrote {matrix}"))


def _require_sense(*, output: bool, exact: bool, target: bool, fork: bool) -> None:
    problems = []
    if not output:
        problems.append("nothing to do: give -o FILE to write the plan, or --print to list its ids")
    if exact and target:
        problems.append(
            "--shards says how many shards there are; --target-minutes and --max-shards are for"
            " where it does not"
        )
    if fork:
        problems.append("--fork keeps cells from classes of machines; name these with --runners")
    if problems:
        raise InputError(Problem(what=problem) for problem in problems)


def _runner_classes(named: str | None) -> tuple[RunnerClass, ...]:
    if named is None:
        return ()
    return default_runners() if named == "default" else read_runners(Path(named))


def _show(out: Console, made: Plan) -> None:
    total = sum(len(cell.scenarios) for cell in made.cells)
    out.print(
        Text(
            f"{len(made.playbooks)} playbooks, {len(made.cells)} cells, {total} scenarios, "
            f"{len(made.shards)} shards; digest {plan_digest(made)[:12]}"
        )
    )
    for playbook in made.playbooks:
        for warning in playbook.warnings:
            out.print(Text(visible(f"  warning: {playbook.name}: {warning}")), soft_wrap=True)
    for shard in made.shards:
        text = f"  {shard.id}: {len(shard.cells)} cells, {shard.expected_seconds:g} s"
        if shard.runner is not None:
            text += f" on {shard.runner}, ended after {shard.timeout_minutes} min"
        out.print(Text(text))
    _show_left_out(out, "unplaced", made.unplaced)
    _show_left_out(out, "deferred", made.deferred)
    if made.unplaced:
        out.print(Text("  what is unplaced is never run, and blocks the certificate"))


def _show_left_out(out: Console, word: str, cells: Sequence[PlacedOut]) -> None:
    counts = Counter(each.reason for each in cells)
    first = {each.reason: each.cell for each in reversed(cells)}
    for reason, count in counts.most_common(_MOST_REASONS):
        named = first[reason] if count == 1 else f"{count} cells, the first is {first[reason]}"
        out.print(Text(f"  {word}: {named}: {reason}"))
    if len(counts) > _MOST_REASONS:
        rest = len(cells) - sum(count for _, count in counts.most_common(_MOST_REASONS))
        out.print(Text(f"  {word}: {rest} more cells, which the plan names with their reasons"))
