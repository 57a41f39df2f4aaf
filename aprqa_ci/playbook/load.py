"""Loading playbooks and templates: from files to checked values, with every problem at once."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.files import read_bounded, sha256_bytes
from aprqa_ci.playbook.declared import declared_not_run
from aprqa_ci.playbook.finding import Finding
from aprqa_ci.playbook.legacy import NoteWarning, make_regular
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.playbook.template import fill_placeholders
from aprqa_ci.playbook.validation import check_playbook, control_characters, foreign_section
from aprqa_ci.playbook.warning import PlaybookWarning, WarningKind
from aprqa_ci.playbook.yaml_source import MAX_YAML_BYTES, YamlDocument, YamlPath, read_yaml
from aprqa_ci.wire import canonical_json

__all__ = [
    "PLAYBOOK_GLOB",
    "LoadedPlaybook",
    "declared_tier",
    "load_playbook",
    "load_playbooks",
    "load_template",
    "parse_playbook",
]

PLAYBOOK_GLOB = "*.playbook.yaml"
"""The names of the files that a folder stands for."""

_MAX_PROBLEMS = 100
_TIER_SUFFIXES = frozenset({"quick", "smoke", "ci", "mvp", "full", "nightly", "release"})


@dataclass(frozen=True, kw_only=True)
class LoadedPlaybook:
    """A playbook with where it comes from and what its author should know."""

    playbook: Playbook
    path: Path
    digest: str
    """SHA-256 of the file's bytes; for a template, of the bytes and the substitutions."""
    warnings: tuple[PlaybookWarning, ...]
    """In the order of the lines."""
    declared_not_run: tuple[str, ...]
    """Paths of what the file asks for and this version does not execute, sorted."""
    lines: Mapping[YamlPath, int]
    """The line of each entry and item, counted from 1."""

    @property
    def local_path(self) -> Path | None:
        """``model.local_path`` as an absolute path, read from the folder of the playbook.

        Symbolic links at its end are kept, for their names say the format. Whether anything is
        there is not looked at.
        """
        declared = self.playbook.model.local_path
        if declared is None:
            return None
        return Path(os.path.normpath(self.path.parent.resolve() / declared))


def load_playbook(path: Path) -> LoadedPlaybook:
    """Load one playbook.

    Raises:
        InputError: with every problem of the file, by line.
    """
    return parse_playbook(read_bounded(path, MAX_YAML_BYTES), path=path)


def load_template(path: Path, substitutions: Mapping[str, str]) -> LoadedPlaybook:
    """Load a template with text put in for its ``${NAME}`` placeholders.

    Args:
        path: the template.
        substitutions: the text for each placeholder, all of them and no others.

    Raises:
        InputError: with every problem of the file and of the substitutions.
    """
    return parse_playbook(
        read_bounded(path, MAX_YAML_BYTES), path=path, substitutions=substitutions
    )


def parse_playbook(
    data: bytes, *, path: Path, substitutions: Mapping[str, str] | None = None
) -> LoadedPlaybook:
    """Make a playbook of the bytes of a file.

    Args:
        data: the bytes.
        path: where they come from, for messages and ``local_path``; not read.
        substitutions: the text for each placeholder of a template; nothing for a playbook, in
            which placeholders are errors.

    Raises:
        InputError: with every problem found.
    """
    document = read_yaml(data, source=path)
    _require_playbook(document, path)
    filled = fill_placeholders(document.data, substitutions)
    warnings: list[PlaybookWarning] = []

    def note(kind: WarningKind, where: YamlPath, what: str, hint: str) -> None:
        line = document.line_of(where)
        warnings.append(PlaybookWarning(kind=kind, what=what, path=path, line=line, hint=hint))

    regular = make_regular(
        filled.data, note, template=substitutions is not None, substituted=filled.substituted
    )
    playbook, findings = check_playbook(regular)
    # A placeholder that is left breaks other rules too; the placeholder is what to mend.
    left = {finding.path for finding in filled.findings}
    findings = [finding for finding in findings if not finding.path or finding.path not in left]
    findings = [*filled.findings, *findings, *control_characters(regular)]
    if playbook is None or findings:
        raise InputError(_problems(findings, document, path))
    _note_ineffective(playbook, filled.data, note)
    if substitutions is not None:
        data += b"\0" + canonical_json(dict(substitutions))
    return LoadedPlaybook(
        playbook=playbook,
        path=path,
        digest=sha256_bytes(data),
        warnings=tuple(sorted(warnings, key=lambda warning: warning.line or 0)),
        declared_not_run=declared_not_run(regular),
        lines=document.lines,
    )


def load_playbooks(patterns: Iterable[Path | str]) -> list[LoadedPlaybook]:
    """Load the playbooks that files, folders and globs name, each once, in their order.

    Args:
        patterns: paths of files; folders, which stand for all ``*.playbook.yaml`` below them; and
            globs, ``**`` included.

    Raises:
        InputError: with the problems of all files: a pattern matches nothing, a file is wrong, or
            two playbooks have the same name.
    """
    problems: list[Problem] = []
    loaded: list[LoadedPlaybook] = []
    for path in _paths(patterns, problems):
        try:
            loaded.append(load_playbook(path))
        except InputError as error:
            problems.extend(error.problems)
    problems.extend(_equal_names(loaded))
    if problems:
        raise InputError(problems)
    return loaded


def declared_tier(playbook: Playbook) -> str | None:
    """Return the tier that a playbook names, in its own word, or nothing.

    That is ``metadata.tier``, or else the last part of the name where it is one of the format's:
    ``quick``, ``smoke``, ``ci``, ``mvp``, ``full``, ``nightly``, ``release``. Which of them are
    tiers, or other words for tiers, is the planning's to say.
    """
    tier = playbook.metadata.get("tier")
    if isinstance(tier, str):
        return tier
    suffix = playbook.name.rpartition("-")[2]
    return suffix if suffix in _TIER_SUFFIXES else None


def _require_playbook(document: YamlDocument, path: Path) -> None:
    if not isinstance(document.data, dict):
        kind = "a list" if isinstance(document.data, list) else "a single value"
        what = f"not a playbook: the file is {kind}, not a mapping"
        raise InputError(Problem(what=what, path=path, line=document.line_of(())))
    foreign = foreign_section(document.data)
    if foreign is not None:
        key, kind = foreign
        what = f"not a playbook: it is {kind}, as its section `{key}` shows"
        raise InputError(Problem(what=what, path=path, line=document.line_of((key,))))


def _problems(findings: Iterable[Finding], document: YamlDocument, path: Path) -> list[Problem]:
    problems = sorted(
        (
            Problem(
                what=finding.what,
                path=path,
                line=document.line_of(_original(finding.path, document)),
                hint=finding.hint,
            )
            for finding in findings
        ),
        key=lambda problem: (problem.line or 0, problem.what),
    )
    if len(problems) > _MAX_PROBLEMS:
        more = len(problems) - _MAX_PROBLEMS
        problems[_MAX_PROBLEMS:] = [
            Problem(what=f"there are at least {more} more problems", path=path)
        ]
    return problems


def _original(path: YamlPath, document: YamlDocument) -> YamlPath:
    """Return where a path of the regular data stands in the file."""
    listed = isinstance(document.data.get("property_tests"), list)
    if listed and path[:2] == ("property_tests", "tests"):
        return (path[0], *path[2:])
    return path


def _note_ineffective(playbook: Playbook, data: Mapping[str, Any], note: NoteWarning) -> None:
    for gate in playbook.gates.__struct_fields__:
        if not getattr(playbook.gates, gate):
            what = f"`gates.{gate}` is false: a gateway that is off is never passed, so no run of "
            what += "this playbook can be certified"
            note(WarningKind.GATEWAY_OFF, ("gates", gate), what, "leave it out to certify")
    if "size_category" not in data["model"]:
        what = f"`model.size_category` is missing; {playbook.model.size_category} is taken"
        hint = "give the size, for performance limits depend on it"
        note(WarningKind.SIZE_MISSING, ("model",), what, hint)


def _paths(patterns: Iterable[Path | str], problems: list[Problem]) -> list[Path]:
    """Return the files that the patterns name; what names none is added to the problems."""
    found: dict[Path, Path] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            matches = sorted(path.rglob(PLAYBOOK_GLOB))
            what = f"the folder has no {PLAYBOOK_GLOB} in it"
        elif path.exists():
            matches = [path]
            what = ""
        else:
            # Path.glob takes no absolute patterns.
            names = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 - see above
            matches = [match for match in map(Path, sorted(names)) if match.is_file()]
            what = "no file matches" if glob.has_magic(str(pattern)) else "there is no such file"
        if not matches:
            problems.append(Problem(what=what, path=path))
        for match in matches:
            found.setdefault(match.resolve(), match)
    return list(found.values())


def _equal_names(loaded: Iterable[LoadedPlaybook]) -> list[Problem]:
    first: dict[str, LoadedPlaybook] = {}
    problems = []
    for entry in loaded:
        name = entry.playbook.name
        other = first.setdefault(name, entry)
        if other is not entry:
            problems.append(
                Problem(
                    what=f"the name {name!r} is also that of {other.path}",
                    path=entry.path,
                    line=entry.lines[("name",)],
                    hint="names tell cells and certificates apart; give each playbook its own",
                )
            )
    return problems
