"""``aprqa publish``."""

import os
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import click
from rich.text import Text

from aprqa_ci.certification.bundle import read_bundle
from aprqa_ci.cli.connecting import connect_to, in_a_job
from aprqa_ci.cli.options import existing_directory
from aprqa_ci.cli.output import console, raise_for
from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.annotations import annotations_of
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.comment import CommentMode
from aprqa_ci.github.context import EventContext, read_context
from aprqa_ci.github.outputs import MAX_SUMMARY_BYTES, append_summary, set_outputs
from aprqa_ci.github.proposal import Places
from aprqa_ci.github.publish import Mode, Published, PublishOptions
from aprqa_ci.github.publish import publish as publish_bundles
from aprqa_ci.github.workflow_commands import (
    Annotation,
    Level,
    annotate,
    stop_commands,
)
from aprqa_ci.plain_text import visible
from aprqa_ci.reports.summary_markdown import render_summary

__all__ = ["publish"]


@click.command()
@click.argument("bundles", nargs=-1, required=True, metavar="BUNDLE...", type=existing_directory)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.AUTO.value,
    show_default=True,
    help="What to publish; auto does what the event calls for: a comment on a pull request, a "
    "certification pull request from the default branch, else nothing.",
)
@click.option(
    "--comment-mode",
    type=click.Choice([mode.value for mode in CommentMode]),
    default=CommentMode.ALWAYS.value,
    show_default=True,
    help="When there is to be a comment.",
)
@click.option(
    "--registry",
    default=Places.registry,
    show_default=True,
    help="The models.csv, from the root of the repository.",
)
@click.option(
    "--readme",
    default=Places.readme,
    show_default=True,
    help="The README whose table is updated, if it has one.",
)
@click.option(
    "--certifications",
    default=Places.certifications,
    show_default=True,
    help="Where bundles are, from the root of the repository.",
)
@click.option(
    "--comment-key",
    default="certification",
    show_default=True,
    help="Tells the comments of several workflows apart.",
)
@click.option(
    "--author",
    help="Whose comments and pull requests are ours, for example my-app[bot]; needed with the "
    "token of an app.",
)
@click.option(
    "--reviewer",
    "reviewers",
    multiple=True,
    metavar="NAME",
    help="Who is asked to review a certification pull request, once: a login, or org/team. May be "
    "given several times.",
)
@click.option(
    "--auto-merge",
    type=click.Choice([mode.value for mode in AutoMerge]),
    help="How GitHub merges a certification pull request once its rules are met.  [default: off]",
)
@click.option(
    "--close-superseded/--no-close-superseded",
    default=None,
    help="Close our own certification pull requests that are superseded.  [default: no]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be published and write nothing.")
def publish(
    *,
    bundles: tuple[Path, ...],
    mode: str,
    comment_mode: str,
    registry: str,
    readme: str,
    certifications: str,
    comment_key: str,
    author: str | None,
    reviewers: tuple[str, ...],
    auto_merge: str | None,
    close_superseded: bool | None,
    dry_run: bool,
) -> None:
    """Publish bundles from a GitHub Actions job: as a comment, or as a pull request.

    Takes the token from GITHUB_TOKEN and everything else from the variables of the job. Each
    bundle is scored again first. The exit code is that of the verdicts; when they are good and
    GitHub did not take what was published, it is 4.
    """
    environment = os.environ
    context = read_context(environment)
    read = [read_bundle(bundle) for bundle in bundles]
    options = PublishOptions(
        mode=Mode(mode),
        comment=CommentMode(comment_mode),
        dry_run=dry_run,
        places=Places(registry=registry, readme=readme, certifications=certifications),
        key=comment_key,
        author=author,
        reviewers=reviewers or None,
        auto_merge=None if auto_merge is None else AutoMerge(auto_merge),
        close_superseded=close_superseded,
    )
    done = publish_bundles(
        read,
        context=context,
        options=options,
        connect=lambda: connect_to(
            context.repository, api_url=context.api_url, environment=environment
        ),
    )
    _tell(done, context, environment)
    raise_for(read)
    if done.failures:
        msg = "the verdict is good, and could not be delivered: " + "; ".join(done.failures)
        raise DeliveryError(msg)


def _tell(done: Published, context: EventContext, environment: Mapping[str, str]) -> None:
    out = console()
    in_job = in_a_job(environment)
    # A text or a diff may hold what the runner would take as an order, wherever the line begins.
    with stop_commands(sys.stdout.write) if in_job else nullcontext():
        for line in done.lines:
            out.print(Text(visible(line)), soft_wrap=True)
    for text in done.failures:
        out.print(Text(f"not delivered: {visible(text)}"), soft_wrap=True)
    if in_job:
        failures = [
            Annotation(level=Level.ERROR, title="Not delivered", message=text)
            for text in done.failures
        ]
        # A reporter's run is of the default branch, whose playbook need not be the one that failed.
        runs = done.runs if context.workflow_run is None else ()
        found = [each for run in runs for each in annotations_of(run.report, playbook=run.playbook)]
        annotate([*failures, *found], sys.stdout.write)
    if path := environment.get("GITHUB_OUTPUT"):
        set_outputs(Path(path), done.outputs)
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        unverified = context.workflow_run is not None and context.workflow_run.is_fork
        text = render_summary(done.runs, limit=MAX_SUMMARY_BYTES, unverified=unverified)
        append_summary(Path(path), text)
