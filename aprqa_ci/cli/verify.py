"""``aprqa verify``."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.verifying import Verification, bundles_below, verify_bundle
from aprqa_ci.cli.output import console, write_out
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.plain_text import one_line
from aprqa_ci.wire import pretty_json

__all__ = ["verify"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--models",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the model's files are, to compute their digests again.",
)
@click.option("--json", "as_json", is_flag=True, help="All that was found, as JSON.")
def verify(*, path: Path, models: Path | None, as_json: bool) -> None:
    """Check the chain of digests of bundles again, offline.

    PATH is a bundle, or a directory of bundles. The evidence is scored again; what is said first
    is the first link that does not hold. Exit code 0 when everything holds that could be checked,
    1 when something does not, 2 when a bundle cannot be read.
    """
    done: list[Verification] = []
    unreadable: list[Problem] = []
    for directory in bundles_below(path):
        try:
            done.append(verify_bundle(directory, models=models)[0])
        except InputError as error:
            unreadable += error.problems
    if as_json:
        write_out(
            pretty_json(
                {
                    "holds": not unreadable and all(each.holds for each in done),
                    "bundles": done,
                    "unreadable": [str(each) for each in unreadable],
                }
            ).decode()
        )
    else:
        _show(done)
    if any(not each.holds for each in done):
        _say_unreadable(unreadable)
        raise click.exceptions.Exit(1)
    if unreadable:
        raise InputError(unreadable)


def _show(done: Sequence[Verification]) -> None:
    out = console()
    for each in done:
        links = ", ".join(each.held)
        if each.holds:
            out.print(Text(f"{each.directory}: holds: {links}"), soft_wrap=True)
        else:
            more = len(each.broken) - 1
            told = f" (and {more} more, --json has all)" if more else ""
            first = one_line(str(each.broken[0]))
            out.print(Text(f"{each.directory}: does not hold: {first}{told}"), soft_wrap=True)
        for unchecked in each.unchecked:
            out.print(Text(f"  not checked: {one_line(str(unchecked))}"), soft_wrap=True)


def _say_unreadable(problems: Sequence[Problem]) -> None:
    err = console(stderr=True)
    for problem in problems:
        err.print(Text(f"error: {problem}"), soft_wrap=True)
