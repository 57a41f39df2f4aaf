"""The one owner of Markdown: nothing else writes a pipe, a fence or a bullet.

The text that goes in is hostile until it is escaped: a model may answer with a table, a fence, a
comment that looks like a bot's marker, a mention, an issue reference that closes the issue, or an
image that reports who looks at it. The Markdown is GitHub's (GFM); GitHub finds mentions and
references after rendering, where a backslash no longer helps, so those are broken with a zero
width joiner, in code as well: the text of a pull request can become a commit message, where nothing
is code. The joiner cannot be seen; whoever needs the exact bytes finds them in the evidence.
"""

import re
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from aprqa_ci.plain_text import one_line, shorten, visible

__all__ = [
    "Cell",
    "Inline",
    "bold",
    "bullets",
    "code_span",
    "comment",
    "cut",
    "escape_text",
    "fenced",
    "heading",
    "join",
    "link",
    "table",
    "title_text",
]

_ALIGNMENTS = {"l": "left", "r": "right", "c": "center"}
_JOINER = "\u200d"

_MENTION = re.compile(r"@(?=\w)")
_ISSUE = re.compile(r"#(?=\d)|\b(?i:GH)-(?=\d)")
# In code a scenario id (`name:run-cpu-gguf#007`) and a suite (`facts@1`) stay fit for copying.
_MENTION_IN_CODE = re.compile(r"(?<!\w)@(?=\w)")
_ISSUE_IN_CODE = re.compile(r"(?<!\w)#(?=\d)|/[\w.-]+#(?=\d)|\b(?i:GH)-(?=\d)")
_SCHEME = re.compile(r"(?<=[A-Za-z]):(?=//)|(?i:\bmailto):|(?i:\bwww)(?=\.)")
_COMMENT = re.compile(r"<(?=!--)|--(?=!?>)")

# Entities where a backslash would not do: `|` splits table cells and `$` starts mathematics before
# backslashes are looked at; `<` and `&` are safe in HTML as well this way.
_SPECIAL = str.maketrans(
    {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;", "$": "&#36;"}
    | {character: f"\\{character}" for character in "\\`*~[]"}
)
# Between letters and digits an underscore is no emphasis, and `x86_64` reads better without it.
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BLOCK_START = re.compile(r"^(?:[-+#=:]|\d+(?=[.)](?: |$)))")
_BACKTICKS = re.compile(r"`+")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_SECTION = re.compile(r"^#{1,6} ")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Inline(str):
    """A piece of finished Markdown on one line; only this module makes it."""

    __slots__ = ()


Cell = str | int | float | None
"""What a table cell is made of: text is escaped, ``Inline`` is taken as it is, nothing is ``-``."""


def escape_text(text: str, limit: int = 1000) -> Inline:
    """Return Markdown that shows ``text``, on one line, and does nothing else.

    Args:
        text: any text.
        limit: the most characters of it that are shown.
    """
    plain = _unlinked(shorten(one_line(text), limit))
    plain = _ISSUE.sub(_joined, _MENTION.sub(_joined, plain))
    plain = _UNDERSCORE.sub(r"\\_", plain.translate(_SPECIAL))
    return Inline(_BLOCK_START.sub(_guard, plain))


def title_text(text: str, limit: int = 200) -> str:
    """Return ``text`` as the title of an issue: no Markdown but code, and nobody is mentioned."""
    plain = _unlinked(shorten(one_line(text), limit)).replace("`", "'")
    return _ISSUE.sub(_joined, _MENTION.sub(_joined, plain))


def code_span(text: str, limit: int = 200) -> Inline:
    """Return ``text`` as inline code, or as escaped text where code could not hold it.

    Inline code knows no escapes, so a pipe in it would split the cell of a table.
    """
    plain = _unlinked_code(shorten(one_line(text), limit))
    if not plain or "|" in plain:
        return escape_text(text, limit)
    quotes = "`" * (_longest_run(plain) + 1)
    pad = " " if plain.startswith("`") or plain.endswith("`") else ""
    return Inline(f"{quotes}{pad}{plain}{pad}{quotes}")


def bold(text: str) -> Inline:
    """Return ``text`` in bold; nothing for nothing."""
    inner = _finished(text)
    return Inline(f"**{inner}**") if inner else inner


def link(text: str, url: str) -> Inline:
    """Return a link to a URL of our own making.

    Raises:
        ValueError: the URL is not https, or has a character that could end it.
    """
    if not re.fullmatch(r"https://[A-Za-z0-9./_%~=?&#-]+", url):
        what = f"not a URL that may be linked: {url!r}"
        raise ValueError(what)
    return Inline(f"[{escape_text(text)}]({url})")


def join(separator: str, parts: Iterable[str]) -> Inline:
    """Join pieces on one line; what is not finished Markdown is escaped, the separator is not."""
    return Inline(separator.join(_finished(part) for part in parts))


def heading(level: int, text: str) -> str:
    """Return a heading of level 1 to 6."""
    # A row of hashes at the end of a heading is no part of it unless it is escaped.
    title = re.sub(r"(?<= )#+$", r"\\\g<0>", _finished(text))
    return f"{'#' * level} {title}"


def bullets(items: Iterable[str]) -> str:
    """Return a list, one item a line."""
    return "\n".join(f"- {_finished(item)}" for item in items)


def fenced(text: str, language: str = "text", limit: int = 2000) -> str:
    r"""Return ``text`` as a code block that nothing in it can end.

    Args:
        text: any text; line ends become ``\n``, unseen characters become visible.
        language: a word for the highlighter.
        limit: the most characters of it that are shown.
    """
    plain = _unlinked_code(shorten(visible(text), limit))
    fence = "`" * max(3, _longest_run(plain) + 1)
    return f"{fence}{language}\n{plain}\n{fence}"


def comment(text: str) -> str:
    """Return an HTML comment, which readers do not see; ``text`` is a marker of our own.

    Raises:
        ValueError: the text could end the comment or start another.
    """
    if not re.fullmatch(r"[A-Za-z0-9_:./= -]+", text) or "--" in text:
        what = f"not fit for a comment: {text!r}"
        raise ValueError(what)
    return f"<!-- {text} -->"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    align: str = "",
    limit: int = 200,
) -> str:
    """Return a table; a table without rows is its head.

    Args:
        headers: the column names.
        rows: one cell a column.
        align: one letter a column, ``l``, ``r`` or ``c``; without it all are left.
        limit: the most characters of a text that a cell shows.
    """
    body = [[_cell(cell, limit) for cell in row] for row in rows]
    head = [_cell(header, limit) for header in headers]
    # Without a row tabulate leaves the alignment out; an empty one brings it and is taken away.
    lines = tabulate(
        body or [[""] * len(head)],
        headers=head,
        tablefmt="pipe",
        colalign=[_ALIGNMENTS[letter] for letter in align or "l" * len(head)],
        disable_numparse=True,
    ).split("\n")
    return "\n".join(lines if body else lines[:2])


def cut(text: str, limit: int, *, note: str) -> str:
    """Return finished Markdown in at most ``limit`` bytes of UTF-8, well-formed wherever it is cut.

    It is cut before a heading if that keeps half of what fits, else after a whole line, and a code
    block that is open there is closed.

    Args:
        text: Markdown whose blocks this module made.
        limit: the most bytes; text that fits is returned as it is.
        note: what is said at the end of a text that was cut.

    Returns:
        The text; nothing where not even the note fits.
    """
    if len(text.encode()) <= limit:
        return text
    end = f"\n{_finished(note)}\n"
    room = limit - len(end.encode()) - 1
    if room < 0:
        return ""
    kept: list[str] = []
    size, section, fence = 0, 0, ""
    for line in _LINE.findall(text):
        found = _FENCE.match(line.rstrip("\n"))
        after = _fence_after(fence, found)
        # Whatever line is the last one kept, the fence that is then open must fit as well.
        if size + len(line.encode()) + len(after) + 1 > room:
            break
        if not fence and _SECTION.match(line) and size * 2 >= room:
            section = len(kept)
        kept.append(line)
        size += len(line.encode())
        fence = after
    if section:
        kept, fence = kept[:section], ""
    body = "".join(kept).rstrip("\n")
    return "\n".join(part for part in (body, fence) if part) + f"\n{end}"


def _fence_after(fence: str, found: re.Match[str] | None) -> str:
    """Return the fence that is open after a line, given the one before and the line's own."""
    if found is None:
        return fence
    if not fence:
        return found[1]
    closes = found[1].startswith(fence) and not found[2].strip()
    return "" if closes else fence


def _unlinked(text: str) -> str:
    return _COMMENT.sub(_joined, _SCHEME.sub(_joined, text))


def _unlinked_code(text: str) -> str:
    plain = _unlinked(text)
    return _ISSUE_IN_CODE.sub(_joined, _MENTION_IN_CODE.sub(_joined, plain))


def _joined(match: re.Match[str]) -> str:
    return f"{match[0]}{_JOINER}"


def _guard(match: re.Match[str]) -> str:
    """Keep what begins a line from beginning a list, a heading or a rule."""
    start = match[0]
    return f"{start}{_JOINER}" if start[0].isdigit() else f"\\{start}"


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)


def _finished(text: str) -> Inline:
    return text if isinstance(text, Inline) else escape_text(text)


def _cell(value: Cell, limit: int) -> str:
    if not isinstance(value, str):
        return "-" if value is None else str(value)
    return (value if isinstance(value, Inline) else escape_text(value, limit)) or "-"
