"""The options of the ``openai`` engine: where its server is, or how it is started."""

import json
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.interface import OptionValue
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.wire import near_name

__all__ = [
    "OPTION_MEANINGS",
    "PLACEHOLDERS",
    "URL_VARIABLE",
    "OpenAIOptions",
    "read_openai_options",
]

URL_VARIABLE: Final = "APRQA_OPENAI_URL"
"""The environment variable with the address, where no option gives one."""

OPTION_MEANINGS: Final[Mapping[str, str]] = {
    "url": f"the server's address, without /v1; or {URL_VARIABLE}",
    "model": "what the server calls the model; the only one it has",
    "api_key_env": "the name of the environment variable with its key",
    "command": "starts the server: a list of texts, with placeholders",
    "health": "what answers 200 once the server is ready; /health, or else /v1/models",
    "start_seconds": "how long starting may take; 600",
    "context_length": "of the model, in tokens; what the server says",
    "sampling": 'further settings of every request, such as ["top_k=0", "min_p=0"]',
}

PLACEHOLDERS: Final[Mapping[str, str]] = {
    "model": "the weight file, or the directory of a model that is several",
    "directory": "the directory with the model's configuration",
    "port": "a free port of 127.0.0.1",
    "threads": "how many threads the cell has",
}
"""What a command may name in braces; a brace itself is written twice."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SETTING = re.compile(r"[a-z][a-z0-9_]{0,63}=(-?[0-9]{1,9}(\.[0-9]{1,9})?|true|false)")
_RESERVED = frozenset(
    {"model", "prompt", "messages", "stream", "max_tokens", "temperature", "seed"}
)
_PATH = re.compile(r"/[A-Za-z0-9/._-]{0,127}")
_MAX_SECONDS = 7200
_MAX_ARGUMENTS = 256


@dataclass(frozen=True, kw_only=True)
class OpenAIOptions:
    """See :data:`OPTION_MEANINGS`."""

    url: str = ""
    model: str = ""
    api_key_env: str = ""
    command: tuple[str, ...] = ()
    health: str = ""
    start_seconds: float = 600.0
    context_length: int = 0
    sampling: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, float]:
        """The further settings of every request, by name."""
        pairs = (text.partition("=") for text in self.sampling)
        return {name: json.loads(value) for name, _, value in pairs}

    @property
    def names_files(self) -> bool:
        """Whether the command hands the model's files to the server."""
        return any(
            name in {"model", "directory"}
            for argument in self.command
            for _, name, _, _ in string.Formatter().parse(argument)
        )


def read_openai_options(given: Mapping[str, OptionValue]) -> OpenAIOptions:
    """Read the options.

    Raises:
        InputError: with every option that is unknown or has a wrong value, and where both an
            address and a command are given.
    """
    problems: list[str] = []
    values: dict[str, OptionValue] = {}
    kinds = {each.name: type(each.default) for each in fields(OpenAIOptions)}
    for name, value in given.items():
        kind = kinds.get(name)
        if kind is None:
            hint = near_name(name, list(kinds)) or f"known are {', '.join(kinds)}"
            problems.append(f"openai has no option {name!r}: {hint}")
        elif kind is float and isinstance(value, int) and not isinstance(value, bool):
            values[name] = float(value)
        elif type(value) is not kind:
            problems.append(f"openai.{name} must be {_KINDS[kind]}")
        else:
            values[name] = value
    options = OpenAIOptions(**values)  # type: ignore[arg-type] # each of its kind, as just seen
    problems += _wrong_values(options)
    if problems:
        raise InputError(Problem(what=what) for what in problems)
    return options


_KINDS = {str: "a text", tuple: "a list of texts", float: "a number", int: "a whole number"}


def _wrong_values(options: OpenAIOptions) -> list[str]:
    problems = []
    if options.url:
        if options.command:
            problems.append("openai.url and openai.command exclude each other")
        try:
            OpenAIClient(options.url, 1, foreign=True, api_key="k" if options.api_key_env else "")
        except InputError as error:
            problems.append(f"openai.url: {error}")
    if options.api_key_env and not _VARIABLE.fullmatch(options.api_key_env):
        problems.append("openai.api_key_env must be the name of a variable, and never a key itself")
    if options.health and not _PATH.fullmatch(options.health):
        problems.append("openai.health must be a path such as /health")
    if not 0 < options.start_seconds <= _MAX_SECONDS:
        problems.append(f"openai.start_seconds must be between 0 and {_MAX_SECONDS}")
    if options.context_length < 0:
        problems.append("openai.context_length must be 0 or more")
    problems += [
        f"openai.sampling: {text!r} is no setting; write name=number, and none of ours"
        for text in options.sampling
        if not _SETTING.fullmatch(text) or text.partition("=")[0] in _RESERVED
    ]
    return problems + _wrong_command(options.command)


def _wrong_command(command: Sequence[str]) -> list[str]:
    problems = []
    if len(command) > _MAX_ARGUMENTS:
        problems.append(f"openai.command has more than {_MAX_ARGUMENTS} parts")
    named = set()
    for argument in command:
        try:
            parts = list(string.Formatter().parse(argument))
        except ValueError as error:
            problems.append(f"openai.command: {argument!r}: {error}")
            continue
        for _, name, form, conversion in parts:
            if name is None:
                continue
            named.add(name)
            if name not in PLACEHOLDERS or form or conversion:
                hint = near_name(name, list(PLACEHOLDERS)) or f"known are {', '.join(PLACEHOLDERS)}"
                problems.append(f"openai.command: {argument!r} has no known placeholder: {hint}")
        if "\0" in argument:
            problems.append("openai.command has a zero byte")
    if command and not command[0]:
        problems.append("openai.command names no program")
    if command and "port" not in named:
        problems.append("openai.command must hand over {port}, where the server is to listen")
    return problems
