"""The inputs of the action, which ``action.yml`` hands on as ``INPUT_…``; here they get types."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.github.comment import CommentMode
from aprqa_ci.github.publish import Mode
from aprqa_ci.wire import near_name

__all__ = ["INPUT_NAMES", "ActionInputs", "Command", "read_inputs"]

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)


class Command(StrEnum):
    """What a step of the action does."""

    PLAN = "plan"
    RESOLVE = "resolve"
    """Say which model files are needed and what a cache of them is known by."""
    FETCH = "fetch"
    """Fetch those files; the only command that gets the hub's token, with resolve."""
    RUN = "run"
    MERGE = "merge"
    CERTIFY = "certify"
    """Plan, run and merge in one job."""
    REPORT = "report"
    """Merge what another run left behind and publish it; the verdict is that run's affair."""


@dataclass(frozen=True, kw_only=True)
class ActionInputs:
    """The inputs of one step, checked."""

    command: Command
    playbooks: tuple[str, ...] = ()
    tier: str | None = None
    only: tuple[str, ...] = ()
    runners: Path | None = None
    target_minutes: float | None = None
    max_shards: int | None = None
    shard: str | None = None
    workers: int = 1
    plan: Path | None = None
    plan_digest: str | None = None
    evidence: Path | None = None
    publish: Mode = Mode.NONE
    comment_mode: CommentMode = CommentMode.ALWAYS
    reviewers: tuple[str, ...] | None = None
    auto_merge: AutoMerge | None = None
    close_superseded: bool | None = None
    author: str | None = None
    attest: bool | None = None
    token: str = field(default="", repr=False)
    hf_token: str = field(default="", repr=False)
    output: Path = Path("aprqa-out")
    artifact_prefix: str = ""


_PLANNING = frozenset({Command.PLAN, Command.CERTIFY})
_HUB = frozenset({Command.RESOLVE, Command.FETCH})
_RUNNING = frozenset({Command.RUN, Command.CERTIFY})
_MERGING = frozenset({Command.MERGE, Command.REPORT})
_PUBLISHING = frozenset({Command.MERGE, Command.CERTIFY})
_PLANNED = _MERGING | _HUB | {Command.RUN}
_EVERY = frozenset(Command)

# Which commands an input belongs to. Inputs with a default are given to every command.
_BELONGS = {
    "playbooks": _PLANNING | _HUB,
    "tier": _PLANNING | _HUB,
    "only": _PLANNING | _HUB,
    "runners": frozenset({Command.PLAN}),
    "target-minutes": frozenset({Command.PLAN}),
    "max-shards": frozenset({Command.PLAN}),
    "shard": _HUB | {Command.RUN},
    "workers": _RUNNING,
    "plan": _PLANNED,
    "plan-digest": _PLANNED,
    "evidence": _MERGING,
    "publish": _EVERY,
    "comment-mode": _EVERY,
    "reviewers": _PUBLISHING,
    "auto-merge": _PUBLISHING,
    "close-superseded": _PUBLISHING,
    "author": _MERGING | {Command.CERTIFY},
    "attest": _PUBLISHING,
    "token": _EVERY,
    "hf-token": _HUB,
    "output": _EVERY,
    "artifact-prefix": _EVERY,
    # Taken by the script that starts us.
    "python": _EVERY,
}
_REQUIRED = {
    Command.PLAN: ("playbooks",),
    Command.RESOLVE: (),
    Command.FETCH: (),
    Command.RUN: ("shard",),
    Command.MERGE: (),
    Command.CERTIFY: ("playbooks",),
    Command.REPORT: ("plan", "evidence"),
}

INPUT_NAMES = ("command", *_BELONGS)
"""All inputs, as ``action.yml`` names them."""

_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,60}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_AUTHOR = re.compile(r"[A-Za-z0-9_-]{1,100}(\[bot\])?")
_MOST_WORKERS = 64


def read_inputs(environment: Mapping[str, str]) -> ActionInputs:
    """Read and check the inputs of the step.

    Raises:
        InputError: with everything that is wrong with them.
    """
    reader = _Reader({name: environment.get(_variable(name), "") for name in INPUT_NAMES})
    command = reader.one_of("command", Command, None)
    if command is None:
        raise InputError(reader.problems)
    reader.problems += _misplaced(command, reader.texts)
    inputs = ActionInputs(
        command=command,
        playbooks=reader.lines("playbooks"),
        tier=reader.text("tier"),
        only=reader.lines("only"),
        runners=reader.path("runners"),
        target_minutes=reader.number("target-minutes"),
        max_shards=reader.count("max-shards", 1 << 16),
        shard=reader.text("shard"),
        workers=reader.count("workers", _MOST_WORKERS) or 1,
        plan=reader.path("plan"),
        plan_digest=reader.matching("plan-digest", _DIGEST, "the output of the plan command"),
        evidence=reader.path("evidence"),
        publish=reader.one_of("publish", Mode, Mode.NONE) or Mode.NONE,
        comment_mode=reader.one_of("comment-mode", CommentMode, CommentMode.ALWAYS)
        or CommentMode.ALWAYS,
        reviewers=reader.lines("reviewers") or None,
        auto_merge=reader.optional("auto-merge", AutoMerge),
        close_superseded=reader.flag("close-superseded"),
        author=reader.matching("author", _AUTHOR, "a login, such as my-app[bot]"),
        attest=reader.flag("attest"),
        token=reader.texts["token"].strip(),
        hf_token=reader.texts["hf-token"].strip(),
        output=reader.path("output") or ActionInputs.output,
        artifact_prefix=reader.matching("artifact-prefix", _PREFIX, "letters, digits, . _ -") or "",
    )
    if reader.problems:
        raise InputError(reader.problems)
    return inputs


def _variable(name: str) -> str:
    return "INPUT_" + name.upper().replace("-", "_")


def _misplaced(command: Command, texts: Mapping[str, str]) -> Iterator[Problem]:
    for name in _REQUIRED[command]:
        if not texts[name].strip():
            yield Problem(what=f"the input {name} is missing", hint=f"`{command}` needs it")
    for name, commands in _BELONGS.items():
        if command not in commands and texts[name].strip():
            owners = " and ".join(sorted(commands))
            yield Problem(what=f"the input {name} belongs to {owners}, not to {command}")
    if command in _HUB and texts["playbooks"].strip():
        for name in ("plan", "plan-digest", "shard"):
            if texts[name].strip():
                yield Problem(what=f"the input {name} is of a plan", hint="leave playbooks out")


class _Reader:
    """Reads texts and collects what is wrong with them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.problems: list[Problem] = []

    def text(self, name: str) -> str | None:
        return self.texts[name].strip() or None

    def lines(self, name: str) -> tuple[str, ...]:
        return tuple(line.strip() for line in self.texts[name].splitlines() if line.strip())

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        if text is not None and ("\n" in text or "\0" in text):
            self._wrong(name, "one path")
            return None
        return None if text is None else Path(text)

    def matching(self, name: str, pattern: re.Pattern[str], form: str) -> str | None:
        text = self.text(name)
        if text is not None and not pattern.fullmatch(text):
            self._wrong(name, form)
            return None
        return text

    def number(self, name: str) -> float | None:
        text = self.text(name)
        # More digits, or an exponent, would be no number of minutes.
        if text is not None and not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text):
            self._wrong(name, "a number")
            return None
        if text is not None and float(text) == 0:
            self._wrong(name, "more than 0")
            return None
        return None if text is None else float(text)

    def count(self, name: str, most: int) -> int | None:
        text = self.text(name)
        if text is None:
            return None
        if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
            self._wrong(name, f"a whole number of 1 to {most}")
            return None
        return int(text)

    def one_of(self, name: str, choices: type[ChoiceT], default: ChoiceT | None) -> ChoiceT | None:
        text = self.text(name)
        if text is None and default is not None:
            return default
        known = [str(choice) for choice in choices]
        if text not in known:
            hint = near_name(text or "", known) or f"one of {', '.join(known)}"
            self.problems.append(
                Problem(what=f"the input {name} is {(text or '')[:100]!r}", hint=hint)
            )
            return default
        return choices(text)

    def optional(self, name: str, choices: type[ChoiceT]) -> ChoiceT | None:
        return None if self.text(name) is None else self.one_of(name, choices, None)

    def flag(self, name: str) -> bool | None:
        text = self.text(name)
        if text not in {None, "true", "false"}:
            self._wrong(name, "true or false")
        return None if text is None else text == "true"

    def _wrong(self, name: str, form: str) -> None:
        what = f"the input {name} is {self.texts[name][:100]!r}, which is not {form}"
        self.problems.append(Problem(what=what))
