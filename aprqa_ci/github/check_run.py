"""The check run of a playbook on the head of a pull request.

A check run cannot lose annotations, only gain them. So one that says the same is left alone, and
one that says something else is followed by another of its name, which GitHub shows in its place.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from aprqa_ci.github.annotations import annotations_of
from aprqa_ci.github.answers import Annotated
from aprqa_ci.github.workflow_commands import Annotation, Level
from aprqa_ci.plain_text import one_line, shorten, visible
from aprqa_ci.reports.summary_markdown import SummarisedRun, render_summary
from aprqa_ci.wire import canonical_json

if (
    TYPE_CHECKING
):  # PyGithub is an extra; without it there is no client, and this module still loads
    from aprqa_ci.github.client import Client

__all__ = ["MAX_SUMMARY_BYTES", "CheckContent", "content_of", "deliver_check_run"]

MAX_SUMMARY_BYTES = 65_535
"""GitHub counts characters; bytes are at least as many."""

_CONCLUSIONS = {"good": "success", "fell_short": "failure", "inconclusive": "neutral"}
_LEVELS = {Level.NOTICE: "notice", Level.WARNING: "warning", Level.ERROR: "failure"}
_MAX_TITLE = 200
_MAX_MESSAGE = 4000


@dataclass(frozen=True, kw_only=True)
class CheckContent:
    """What a check run says; made by :func:`content_of`."""

    name: str
    conclusion: str
    """``success``, ``failure``, or ``neutral`` when there is no verdict on the model."""
    title: str
    summary: str
    """Markdown."""
    annotations: tuple[Annotated, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, by which a check run that says the same is known."""
        notes = [[each.path, each.level, each.title, each.message] for each in self.annotations]
        said = [self.name, self.conclusion, self.title, self.summary, notes]
        return hashlib.sha256(canonical_json(said)).hexdigest()


def content_of(run: SummarisedRun) -> CheckContent:
    """Return what the check run of a playbook says. Pure."""
    certificate = run.report.certificate
    found = annotations_of(run.report, playbook=run.playbook)
    return CheckContent(
        name=f"aprqa / {certificate.playbook.name}",
        conclusion=_CONCLUSIONS[run.report.score.verdict],
        title=f"{certificate.status.value} {certificate.mqs} ({certificate.grade})",
        summary=render_summary([run], limit=MAX_SUMMARY_BYTES),
        annotations=tuple(_annotated(found)),
    )


def deliver_check_run(client: "Client", content: CheckContent, *, sha: str, key: str) -> str:
    """Make the check run, unless the newest of its name says the same; return what was done.

    Args:
        client: the repository.
        content: what it says.
        sha: the commit.
        key: names the attempt that reports, to know its check run again if the answer is lost.

    Raises:
        DeliveryError: GitHub did not take it.
    """
    standing = max(client.check_runs(sha, content.name), key=lambda run: run.id, default=None)
    # The newest alone is shown: an older one that says the same is no reason to make none.
    if standing is not None and (standing.external_id or "").endswith(f":{content.digest}"):
        return "unchanged"
    client.create_check_run(
        name=content.name,
        sha=sha,
        conclusion=content.conclusion,
        title=content.title,
        summary=content.summary,
        annotations=content.annotations,
        external_id=f"{key}:{content.digest}",
    )
    return "created" if standing is None else "updated"


def _annotated(annotations: Sequence[Annotation]) -> list[Annotated]:
    """Return those at a file of the repository; of one that is not, GitHub refuses the request."""
    return [
        Annotated(
            path=each.file,
            line=each.line or 1,
            level=_LEVELS[each.level],
            message=shorten(visible(each.message), _MAX_MESSAGE),
            title=shorten(one_line(each.title), _MAX_TITLE),
        )
        for each in annotations
        if _is_inside(PurePosixPath(each.file))
    ]


def _is_inside(path: PurePosixPath) -> bool:
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts
