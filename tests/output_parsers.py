"""Readers of what we publish, each as strict as the program that it stands for.

What they return is what the program would act on; the tests say what that may be.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = [
    "Command",
    "Effects",
    "markdown_blocks",
    "markdown_effects",
    "runner_commands",
    "terminal",
]

_MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])

# What GitHub makes of rendered text, after the Markdown: https://github.github.com/gfm/#autolinks-extension-
# and its documentation of mentions, references and commits.
_ACTS = {
    "autolink": re.compile(
        r"(?:^|[\s*_~(])(?:www\.[\w-]|https?://[\w-]|ftp://[\w-])", re.IGNORECASE
    ),
    "email": re.compile(r"[\w.+-]@[\w-]+\.\w"),
    "protocol": re.compile(r"(?:mailto|xmpp):[\w.+-]+@", re.IGNORECASE),
    "mention": re.compile(r"(?<![\w/`])@[A-Za-z0-9]"),
    "issue": re.compile(r"(?<![\w&])#[0-9]|\bGH-[0-9]|[\w.-]+/[\w.-]+#[0-9]", re.IGNORECASE),
    "unseen": re.compile(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
        "\ufeff\ud800-\udfff\ufffe\uffff\U000e0000-\U000e007f]"
    ),
}
# What it takes out of the source before there is any Markdown, code left aside.
_SOURCE_ACTS = {
    "mathematics": re.compile(r"\$"),
    "footnote": re.compile(r"(?<!\\)\[\^"),
    "alert": re.compile(r"(?<!\\)\[!"),
}
_CODE_SPAN = re.compile(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
# In code GitHub links nothing; but it is text in the message of a commit.
_ACTS_IN_CODE = ("unseen",)


@dataclass(frozen=True, kw_only=True)
class Effects:
    """What a piece of Markdown does besides showing text."""

    html: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    acts: list[tuple[str, str]] = field(default_factory=list)
    """Kind and text of what GitHub would make a link, a mention or a reference."""


def markdown_effects(text: str) -> Effects:
    """Return what GitHub would do of a text."""
    effects = Effects()
    for token in _walk(_MARKDOWN.parse(text)):
        match token.type:
            case "html_block" | "html_inline":
                effects.html.append(token.content)
            case "link_open":
                effects.links.append(str(token.attrs["href"]))
            case "image":
                effects.images.append(str(token.attrs["src"]))
            case "inline":
                source = _CODE_SPAN.sub("", token.content)
                found = ((kind, shape.search(source)) for kind, shape in _SOURCE_ACTS.items())
                effects.acts.extend((kind, source[:80]) for kind, hit in found if hit)
            case "text":
                _note(effects, token.content, _ACTS)
            case "code_inline" | "fence" | "code_block":
                _note(effects, token.content, _ACTS_IN_CODE)
            case _:
                pass
    return effects


def markdown_blocks(text: str) -> list[tuple[str, str]]:
    """Return the blocks of a text, in order, without what is written in them."""
    return [
        (token.type, token.info if token.type == "fence" else token.tag)
        for token in _MARKDOWN.parse(text)
        if token.type != "inline"
    ]


def _note(effects: Effects, text: str, kinds: Iterable[str]) -> None:
    for kind in kinds:
        effects.acts.extend((kind, found[0]) for found in _ACTS[kind].finditer(text))


def _walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _walk(token.children or [])


@dataclass(frozen=True, kw_only=True)
class Command:
    """An order to the runner."""

    name: str
    properties: dict[str, str]
    data: str


_V2 = re.compile(r"\s*::(?P<name>[^:\s]+)(?:\s(?P<properties>.*?))?::(?P<data>.*)", re.DOTALL)
_V1 = re.compile(r"##\[(?P<name>[^\]\s]+)(?:\s(?P<properties>[^\]]*))?\](?P<data>.*)", re.DOTALL)
_KNOWN = {
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice",
    "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
    "internal-set-repo-path",
}  # fmt: skip


def runner_commands(text: str) -> list[Command]:
    """Return the commands that the runner obeys in an output, as actions/runner reads it.

    ``ActionCommandManager``: a line is tried as ``::name props::data``, then as the older
    ``##[name props]data`` that may stand anywhere in it; while commands are stopped, only the word
    that was agreed on is looked for.
    """
    commands = []
    stopped = ""
    for line in re.split(r"\r\n|\r|\n", text):
        if stopped:
            if line.strip() == f"::{stopped}::" or f"##[{stopped}]" in line:
                stopped = ""
            continue
        found = _V2.match(line)
        if found is None or found["name"].lower() not in _KNOWN:
            found = _V1.search(line)
        if found is None or found["name"].lower() not in _KNOWN:
            continue
        separator = "," if found.re is _V2 else ";"
        split = (pair.split("=", 1) for pair in (found["properties"] or "").split(separator))
        properties = {pair[0].strip(): _unescaped(pair[1]) for pair in split if len(pair) > 1}
        command = Command(
            name=found["name"].lower(), properties=properties, data=_unescaped(found["data"])
        )
        commands.append(command)
        if command.name == "stop-commands":
            stopped = command.data
    return commands


def _unescaped(text: str) -> str:
    for code, character in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, character)
    return text


_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def terminal(text: str) -> list[str]:
    """Return what a terminal would take as more than text, line ends and colours of ours."""
    rest = _STYLE.sub("", text).replace("\n", "").replace("\t", "")
    return [found[0] for found in _ACTS["unseen"].finditer(rest)]
