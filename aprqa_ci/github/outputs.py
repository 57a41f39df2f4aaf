"""Files through which a step hands on results: ``GITHUB_OUTPUT`` and ``GITHUB_STEP_SUMMARY``.

Both are appended to, as the runner prescribes: other programs of the step write there as well.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import unwritable
from aprqa_ci.markdown import cut

__all__ = [
    "MAX_OUTPUT_BYTES",
    "MAX_SUMMARY_BYTES",
    "append_summary",
    "render_output",
    "set_outputs",
]

MAX_SUMMARY_BYTES = 1 << 20
"""What GitHub takes as the summary of one step; of a longer one it shows nothing."""

MAX_OUTPUT_BYTES = 1 << 20
"""What GitHub takes as the outputs of one job, counted as UTF-16."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def _random_word() -> str:
    return f"aprqa-{secrets.token_hex(16)}"


def render_output(name: str, value: str, *, delimiter: Callable[[], str] = _random_word) -> str:
    """Return an output as the file has it.

    Args:
        name: letters, digits, ``_`` and ``-``.
        value: any text; line ends stay.
        delimiter: makes the word that ends the value. It is asked again while the value holds the
            word, so that no value can end itself and set an output of its own.

    Raises:
        InputError: the name is not one, or the value is too long.
    """
    if not _NAME.fullmatch(name):
        what = f"not the name of an output: {name!r}"
        raise InputError(what)
    size = len(value.encode("utf-16-le", "replace"))
    if size > MAX_OUTPUT_BYTES:
        what = f"output {name} has {size} bytes as UTF-16; a job may have {MAX_OUTPUT_BYTES}"
        raise InputError(Problem(what=what, hint="hand it on as an artifact"))
    word = delimiter()
    while word in value:
        word = delimiter()
    return f"{name}<<{word}\n{value}\n{word}\n"


def set_outputs(path: Path, outputs: Mapping[str, str]) -> None:
    """Set outputs of the step.

    Args:
        path: what ``GITHUB_OUTPUT`` names.
        outputs: the values by name.

    Raises:
        InputError: a name or a value is not fit, or the file cannot be written.
    """
    _append(path, "".join(render_output(name, value) for name, value in outputs.items()))


def append_summary(path: Path, markdown: str, *, limit: int = MAX_SUMMARY_BYTES) -> None:
    """Add to the summary of the step, as much as still fits; what is left out is said.

    Args:
        path: what ``GITHUB_STEP_SUMMARY`` names.
        markdown: finished Markdown.
        limit: the most bytes of the whole file.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        used = path.stat().st_size if path.exists() else 0
    except OSError as error:
        raise unwritable(path, error, what="cannot write") from error
    text = markdown if markdown.endswith("\n") else f"{markdown}\n"
    _append(path, cut(text, limit - used, note="The rest is too long for this place."))


def _append(path: Path, text: str) -> None:
    try:
        with path.open("ab") as stream:
            stream.write(text.encode(errors="replace"))  # a lone surrogate is no text
    except OSError as error:
        raise unwritable(path, error, what="cannot write") from error
