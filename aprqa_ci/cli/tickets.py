"""``aprqa tickets``."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from aprqa_ci.cli.connecting import connect_to, in_a_job
from aprqa_ci.cli.output import console, show_paths, write_out
from aprqa_ci.cli.scored_runs import RunSource, run_source, scored_runs
from aprqa_ci.errors import DeliveryError, InputError, Problem
from aprqa_ci.files import slug, write_atomic
from aprqa_ci.github.tickets import deliver_tickets
from aprqa_ci.github.workflow_commands import stop_commands
from aprqa_ci.plain_text import visible
from aprqa_ci.reports.tickets import (
    RunCoverage,
    Ticket,
    coverage_of,
    draft_of,
    tickets_of,
    untested_draft,
)

__all__ = ["tickets"]

_REPOSITORY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}/[A-Za-z0-9._-]{1,100}")
_API = "https://api.github.com"
_MOST_NAME = 80


@dataclass(frozen=True, kw_only=True)
class _Drafted:
    run: RunCoverage
    tickets: tuple[Ticket, ...]


@click.command()
@run_source
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each draft into a file of this directory instead of standard output.",
)
@click.option(
    "--open",
    "opens",
    is_flag=True,
    help="Open, update and close issues on GitHub; takes the token from GITHUB_TOKEN.",
)
@click.option("--dry-run", is_flag=True, help="With --open: say what would be done, write nothing.")
@click.option(
    "--repository",
    metavar="OWNER/NAME",
    help="Where the issues are; GITHUB_REPOSITORY if absent.",
)
@click.option(
    "--author",
    help="Whose issues are ours, for example my-app[bot]; needed with the token of an app.",
)
def tickets(
    *,
    source: RunSource,
    output: Path | None,
    opens: bool,
    dry_run: bool,
    repository: str | None,
    author: str | None,
) -> None:
    """Draft an issue for each root cause of failures, or keep such issues on GitHub.

    EVIDENCE is an evidence file or a bundle. Without --open nothing but the drafts is written. The
    exit code says whether that succeeded, not what the verdict is: 4 when GitHub did not take it.
    """
    environment = os.environ
    if not opens and (dry_run or repository or author):
        raise InputError(Problem(what="--dry-run, --repository and --author go with --open"))
    drafted = [
        _Drafted(
            run=coverage_of(each.score, each.scenarios),
            tickets=tickets_of(each.score, each.scenarios, playbook_path=each.playbook_path),
        )
        for each in scored_runs(source)
    ]
    if opens:
        _open(drafted, repository, author, environment, dry_run=dry_run)
    elif output is None:
        texts = [draft_of(ticket) for each in drafted for ticket in each.tickets]
        texts += [text for each in drafted if (text := untested_draft(each.run))]
        with _quiet_log(environment):
            write_out("\n".join(texts) or "nothing failed: there is nothing to draft\n")
    else:
        out = console()
        paths = list(_written(drafted, output))
        with _quiet_log(environment):
            show_paths(out, paths)
            for each in drafted:
                _show_untested(out, each.run)


def _written(drafted: Sequence[_Drafted], output: Path) -> Iterator[Path]:
    number = 0
    for each in drafted:
        for ticket in each.tickets:
            number += 1
            # The number keeps apart what has the same name once it is fit for a file.
            path = output / f"{number:03d}-{slug(ticket.cause)[:_MOST_NAME]}.md"
            try:
                write_atomic(path, draft_of(ticket).encode())
            except OSError as error:
                what = f"cannot write the drafts: {error.strerror or error}"
                raise InputError(Problem(what=what, path=output)) from error
            yield path


def _open(
    drafted: Sequence[_Drafted],
    repository: str | None,
    author: str | None,
    environment: Mapping[str, str],
    *,
    dry_run: bool,
) -> None:
    name = repository or environment.get("GITHUB_REPOSITORY", "")
    if not _REPOSITORY.fullmatch(name):
        what = f"{name!r} is no repository" if name else "no repository is named"
        raise InputError(Problem(what=what, hint="--repository OWNER/NAME"))
    api_url = environment.get("GITHUB_API_URL") or _API
    client = connect_to(name, api_url=api_url, environment=environment)
    out = console()
    failures: list[str] = []
    for each in drafted:
        done = deliver_tickets(client, each.tickets, each.run, author=author, dry_run=dry_run)
        with _quiet_log(environment):
            out.print(Text(visible(f"{each.run.playbook}:"), style="bold"), soft_wrap=True)
            for line in done.lines or ("no cause, and no issue of one",):
                out.print(Text(f"  {visible(line)}"), soft_wrap=True)
            _show_untested(out, each.run)
        failures += done.failures
    if failures:
        raise DeliveryError("not all issues are as they should be: " + "; ".join(failures))


def _show_untested(out: Console, run: RunCoverage) -> None:
    if not run.has_verdict:
        out.print(Text(visible(f"  {run.playbook} came to no verdict, which closes no issue")))
    for sentence in run.not_tested:
        out.print(Text(f"  not tested: {visible(sentence)}"), soft_wrap=True)


def _quiet_log(environment: Mapping[str, str]) -> AbstractContextManager[None]:
    """Return what keeps the runner from taking a quoted text as an order."""
    return stop_commands(sys.stdout.write) if in_a_job(environment) else nullcontext()
