"""``aprqa plan``."""

from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.steps import Surroundings, make_plan
from aprqa_ci.cli.listing import list_ids
from aprqa_ci.cli.options import plan_options, playbooks_argument
from aprqa_ci.cli.output import console
from aprqa_ci.errors import InputError
from aprqa_ci.files import write_atomic
from aprqa_ci.planning.expand import PlanOptions
from aprqa_ci.planning.plan import plan_digest
from aprqa_ci.vocabulary import Backend
from aprqa_ci.wire import pretty_json

__all__ = ["plan"]


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
    type=click.IntRange(1, 1024),
    default=1,
    show_default=True,
    help="Pack the cells into at most so many shards.",
)
@click.option(
    "--certifications",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("certifications"),
    show_default=True,
    help="Where earlier certificates lie, to compare with.",
)
def plan(
    *,
    playbooks: tuple[str, ...],
    tier: str | None,
    only: tuple[str, ...],
    backends: tuple[str, ...],
    engine: str | None,
    output: Path | None,
    print_ids: bool,
    shards: int,
    certifications: Path,
) -> None:
    """Expand playbooks into scenarios and pack them into shards."""
    if output is None and not print_ids:
        msg = "nothing to do: give -o FILE to write the plan, or --print to list its ids"
        raise InputError(msg)
    made = make_plan(
        playbooks,
        options=PlanOptions(
            tier=tier,
            only=only,
            backends=tuple(Backend(backend) for backend in backends),
            engine=engine,
            shards=shards,
        ),
        surroundings=Surroundings(),
        certifications=certifications,
    )
    out = console()
    if print_ids:
        list_ids(out, made)
    if output is not None:
        write_atomic(output, pretty_json(made))
        total = sum(len(cell.scenarios) for cell in made.cells)
        out.print(
            Text(
                f"{len(made.playbooks)} playbooks, {len(made.cells)} cells, {total} scenarios, "
                f"{len(made.shards)} shards; digest {plan_digest(made)[:12]}"
            )
        )
        for shard in made.shards:
            out.print(Text(f"  {shard.id}: {len(shard.cells)} cells, {shard.expected_seconds:g} s"))
        out.print(Text(f"  wrote {output}"))
