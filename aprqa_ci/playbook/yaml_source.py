"""Strict reading of YAML: plain data, the line of everything, and all problems at once.

The events of libyaml are put together here rather than by PyYAML's loaders, because those read YAML
1.1 (``1e-5`` is text, ``no`` is false), let the last of two equal keys win, follow tags, and expand
aliases without a limit. The work is iterative, so depth is bounded by our own limit alone.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import yaml

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.playbook.core_scalars import (
    CORE_TAG,
    RefusedScalarError,
    resolve_plain,
    resolve_tagged,
)

__all__ = ["MAX_YAML_BYTES", "MAX_YAML_DEPTH", "YamlDocument", "YamlPath", "read_yaml", "show_path"]

MAX_YAML_BYTES = 256 << 10
"""The most bytes of one YAML file, and the most that its aliases may add, written out."""

MAX_YAML_DEPTH = 32
"""The most collections within one another."""

YamlPath = tuple[str | int, ...]
"""Keys and positions (from 0) that lead from the root to a value."""

_MAX_PROBLEMS = 100
# The line separators are allowed by YAML 1.2 and would be folded by libyaml, which reads 1.1.
_UNREADABLE = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_TAB_INDENT = re.compile(r" *\t")
_LOADER: Any = getattr(yaml, "CLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class YamlDocument:
    """The content of one file as plain data, with where each part of it stands."""

    data: Any
    """Mappings, lists, text, numbers, booleans, nothing. No part is shared with another."""
    lines: Mapping[YamlPath, int]
    """The line of each entry (of its key, in a mapping) and item, counted from 1."""

    def line_of(self, path: YamlPath) -> int:
        """Return the line of ``path``, or of the nearest thing around it that has one."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def show_path(path: YamlPath) -> str:
    """Return a path the way people write it: ``test_matrix.modalities[1]``."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_printable(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def _printable(key: str) -> str:
    return key if key.isprintable() else repr(key)


def read_yaml(data: bytes, *, source: Path | str) -> YamlDocument:
    """Read one YAML 1.2 document.

    Args:
        data: the bytes of the file, UTF-8.
        source: the file named in messages.

    Raises:
        InputError: with every problem found. The file is too large, not UTF-8, holds control
            characters, is not YAML or not exactly one document; a key is given twice or is not
            text; there is a merge key, a foreign tag, a number that is not finite; aliases
            recurse or add too much; collections are nested too deep.
    """
    if len(data) > MAX_YAML_BYTES:
        what = f"the file has {len(data)} bytes; at most {MAX_YAML_BYTES} are read"
        raise InputError(Problem(what=what, path=source))
    reader = _Reader(source)
    root = reader.compose(_decode(data, source))
    lines: dict[YamlPath, int] = {(): root.line}
    return YamlDocument(data=_construct(root, (), lines), lines=MappingProxyType(lines))


def _decode(data: bytes, source: Path | str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte {error.start} is not UTF-8"
        raise InputError(Problem(what=what, path=source, line=line)) from error
    problems = [
        Problem(
            what=f"the character U+{ord(found[0]):04X} is not allowed in YAML text",
            path=source,
            line=text.count("\n", 0, found.start()) + 1,
            hint=f'write it as an escape in double quotes: "\\u{ord(found[0]):04x}"'
            if found[0] in "\u2028\u2029"
            else "",
        )
        for found, _ in zip(_UNREADABLE.finditer(text), range(_MAX_PROBLEMS), strict=False)
    ]
    if problems:
        raise InputError(problems)
    return text


@dataclass(kw_only=True, slots=True)
class _Node:
    kind: Literal["scalar", "list", "map"]
    line: int
    value: Any = None
    plain: bool = False
    items: list[tuple[str | int, int, "_Node"]] = field(default_factory=list)
    """Key or position, its line, the value."""
    weight: int = 1
    """Characters and nodes, aliases written out."""
    height: int = 0
    """Collections within one another, from here down."""


@dataclass(kw_only=True, slots=True)
class _Open:
    """A collection whose end has not been seen."""

    node: _Node
    anchor: str | None
    keys: dict[str, int] = field(default_factory=dict)
    key: tuple[str, int] | None = None
    """The key that waits for its value."""
    expects_value: bool = False


class _Reader:
    def __init__(self, source: Path | str) -> None:
        self._source = source
        self._problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, _Node] = {}
        self._expanded = 0
        self._root: _Node | None = None
        self._documents = 0

    def compose(self, text: str) -> _Node:
        # What stops the reading is among the problems, and may be how the text is written.
        with suppress(_StopReadingError):
            try:
                for event in yaml.parse(text, Loader=_LOADER):
                    self._take(event)
            except yaml.YAMLError as error:
                self._note_syntax(error, text)
        if self._root is None and not self._problems:
            self._note("the file is empty", 1)
        if self._problems or self._root is None:
            raise InputError(self._problems)
        return self._root

    def _take(self, event: Any) -> None:  # noqa: ANN401 - every event has marks; the stubs doubt it
        line: int = event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                self._finish(self._scalar(event, line), event.anchor)
            case yaml.SequenceStartEvent():
                self._open("list", event, line)
            case yaml.MappingStartEvent():
                self._open("map", event, line)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                done = self._stack.pop()
                self._finish(done.node, done.anchor)
            case yaml.AliasEvent():
                self._finish(self._alias(event.anchor, line), None)
            case yaml.DocumentStartEvent():
                self._start_document(event, line)
            case _:
                pass  # starts and ends of the stream and ends of documents carry nothing

    def _start_document(self, event: yaml.DocumentStartEvent, line: int) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop("a second document starts here; a file holds exactly one", line)
        if event.version not in {None, (1, 2)}:
            self._note("the file says that it is not YAML 1.2", line, "leave %YAML out")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> _Node:
        text, tag, plain = event.value, event.tag, bool(event.implicit[0])
        value: Any = text
        try:
            if tag is not None:
                value = resolve_tagged(text, tag)
            elif plain:
                value = resolve_plain(text)
        except RefusedScalarError as error:
            self._note(str(error), line)
        return _Node(kind="scalar", line=line, value=value, plain=plain, weight=1 + len(text))

    def _open(
        self, kind: Literal["list", "map"], event: yaml.CollectionStartEvent, line: int
    ) -> None:
        if len(self._stack) >= MAX_YAML_DEPTH:
            self._stop(f"collections are nested more than {MAX_YAML_DEPTH} deep", line)
        core = CORE_TAG + ("seq" if kind == "list" else "map")
        if event.tag not in {None, "!", core}:
            self._note(f"the tag {event.tag!r} is not accepted", line)
        self._stack.append(_Open(node=_Node(kind=kind, line=line), anchor=event.anchor))

    def _alias(self, anchor: str | None, line: int) -> _Node:
        if any(entry.anchor == anchor for entry in self._stack):
            self._stop(f"the alias *{anchor} stands inside what it refers to", line)
        node = self._anchors.get(anchor or "")
        if node is None:
            self._note(f"the alias *{anchor} has no anchor before it", line)
            return _Node(kind="scalar", line=line)
        self._expanded += node.weight
        if self._expanded > MAX_YAML_BYTES:
            what = f"the aliases expand to more than {MAX_YAML_BYTES} characters"
            self._stop(what, line, "write the values out, or leave some of them out")
        if len(self._stack) + node.height > MAX_YAML_DEPTH:
            self._stop(f"collections are nested more than {MAX_YAML_DEPTH} deep", line)
        return node

    def _finish(self, node: _Node, anchor: str | None) -> None:
        """Put a complete node where it belongs."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        parent.node.weight += node.weight
        parent.node.height = max(parent.node.height, node.height + 1)
        if parent.node.kind == "list":
            parent.node.items.append((len(parent.node.items), node.line, node))
        elif parent.expects_value:
            parent.expects_value = False
            if parent.key is not None:
                parent.node.items.append((*parent.key, node))
        else:
            parent.expects_value = True
            parent.key = self._key(node, parent)

    def _key(self, node: _Node, parent: _Open) -> tuple[str, int] | None:
        """Return the key that ``node`` is, or nothing when its entry is to be left out."""
        name = node.value
        if not isinstance(name, str):
            shown = repr(name) if node.kind == "scalar" else f"a {node.kind}"
            self._note(f"a key must be text, and this is {shown}", node.line, "put it in quotes")
            return None
        if name == "<<" and node.plain:
            self._note("merge keys (<<) are not accepted", node.line, "write the entries out")
            return None
        if name in parent.keys:
            what = f"the key {name[:60]!r} is given twice, first on line {parent.keys[name]}"
            self._note(what, node.line, "keep one of them")
            return None
        parent.keys[name] = node.line
        return name, node.line

    def _note_syntax(self, error: Any, text: str) -> None:  # noqa: ANN401 - marks depend on the kind
        rows = text.rstrip().split("\n")
        start, mark = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
        # Libyaml notices what is not closed behind the end of the file.
        line = min(mark.line + 1, len(rows)) if mark else 1
        context = getattr(error, "context", None) or ""
        if context and start and start.line + 1 != line:
            context += f" that starts on line {start.line + 1}"
        parts = (context, getattr(error, "problem", None))
        what = ", ".join(part for part in parts if part) or "it cannot be parsed"
        hint = "indent with spaces, never with tabs" if _TAB_INDENT.match(rows[line - 1]) else ""
        self._note(f"not valid YAML: {what}", line, hint)

    def _note(self, what: str, line: int, hint: str = "") -> None:
        self._problems.append(Problem(what=what, path=self._source, line=line, hint=hint))
        if len(self._problems) >= _MAX_PROBLEMS:
            raise _StopReadingError

    def _stop(self, what: str, line: int, hint: str = "") -> None:
        self._note(what, line, hint)
        raise _StopReadingError


class _StopReadingError(Exception):
    """Nothing after this point is worth reading."""


def _construct(node: _Node, path: YamlPath, lines: dict[YamlPath, int]) -> Any:  # noqa: ANN401 - YAML holds anything
    """Return the plain data of a node, aliases written out, and note the lines."""
    if node.kind == "scalar":
        return node.value
    values = []
    for key, line, child in node.items:
        here = (*path, key)
        lines[here] = line
        values.append(_construct(child, here, lines))
    if node.kind == "list":
        return values
    return dict(zip((str(key) for key, _, _ in node.items), values, strict=True))
