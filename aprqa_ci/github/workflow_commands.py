"""The one owner of workflow commands: lines on standard output that the runner takes as orders.

A line that begins with ``::`` makes an annotation, masks a secret or sets a variable, whoever wrote
it. So our own commands are made here and nowhere else, with everything in them escaped, and text
of others is printed between ``stop_commands``.

Format: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from aprqa_ci.plain_text import one_line, shorten, visible

__all__ = [
    "MAX_ANNOTATIONS",
    "Annotation",
    "Level",
    "add_mask",
    "annotate",
    "group",
    "limited",
    "render_annotation",
    "stop_commands",
]

MAX_ANNOTATIONS = 10
"""How many annotations of one level GitHub keeps of one step; it drops the others silently."""

_MAX_MESSAGE = 4000
_MAX_TITLE = 200

Write = Callable[[str], object]
"""Writes text as it is, for example ``sys.stdout.write``."""


class Level(StrEnum):
    """How an annotation is shown."""

    NOTICE = "notice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A message at a place in the repository, or at none."""

    level: Level
    message: str
    title: str = ""
    file: str = ""
    """Relative to the root of the repository."""
    line: int | None = None
    """Counted from 1."""


def render_annotation(annotation: Annotation) -> str:
    """Return the command, one line with its end."""
    properties = {
        "title": shorten(one_line(annotation.title), _MAX_TITLE),
        "file": one_line(annotation.file),
        "line": "" if annotation.line is None else str(annotation.line),
    }
    told = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    message = _data(shorten(visible(annotation.message), _MAX_MESSAGE))
    return f"::{annotation.level.value}{' ' if told else ''}{told}::{message}\n"


def limited(annotations: Sequence[Annotation]) -> tuple[Annotation, ...]:
    """Return what GitHub will show: of each level ten, the last of which counts those left out."""
    kept: list[Annotation] = []
    for level in Level:
        own = [each for each in annotations if each.level is level]
        rest = len(own) - MAX_ANNOTATIONS
        if rest > 0:
            shown = own[: MAX_ANNOTATIONS - 1]
            text = f"{rest + 1} more; the step summary and the report have all of them"
            own = [*shown, Annotation(level=level, message=text, title="Not all are shown")]
        kept += own
    return tuple(kept)


def annotate(annotations: Sequence[Annotation], write: Write) -> None:
    """Write the commands of as many annotations as one step may have."""
    for annotation in limited(annotations):
        write(render_annotation(annotation))


def add_mask(secret: str, write: Write) -> None:
    """Have the runner hide a secret in all that is printed from now on, line by line."""
    for line in secret.splitlines():
        if line.strip():
            write(f"::add-mask::{_data(line)}\n")


@contextmanager
def group(title: str, write: Write) -> Iterator[None]:
    """Fold what is printed inside under a title."""
    write(f"::group::{_data(shorten(one_line(title), _MAX_TITLE))}\n")
    try:
        yield
    finally:
        write("::endgroup::\n")


@contextmanager
def stop_commands(
    write: Write, *, token: Callable[[], str] = lambda: secrets.token_hex(16)
) -> Iterator[None]:
    """Keep the runner from obeying anything that is printed inside.

    Args:
        write: where to.
        token: makes the word that ends it; whoever can guess it can go on giving orders.
    """
    word = token()
    write(f"::stop-commands::{word}\n")
    try:
        yield
    finally:
        # Text that does not end its line would otherwise swallow the command that ends it.
        write(f"\n::{word}::\n")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
