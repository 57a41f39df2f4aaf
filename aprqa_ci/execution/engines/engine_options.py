"""Options of engines, as people write them: ``ENGINE.KEY=VALUE``, and a YAML file.

Which options there are is the engine's affair (:class:`ConfigurableEngine`); here they are read.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.interface import OptionValue
from aprqa_ci.files import read_bounded
from aprqa_ci.playbook.yaml_source import MAX_YAML_BYTES, YamlDocument, read_yaml
from aprqa_ci.wire import WireModel, digest_of

__all__ = [
    "OPTIONS_SCHEMA",
    "OPTIONS_VARIABLE",
    "EngineOptions",
    "EngineOptionsFile",
    "machine_options",
    "merged_options",
    "options_digest",
    "parse_options",
    "read_options",
]

OPTIONS_SCHEMA: Final = "aprqa-engine-options/1"
OPTIONS_VARIABLE: Final = "APRQA_ENGINE_OPTIONS"
"""The environment variable with the path of a file of options."""

EngineOptions = Mapping[str, Mapping[str, OptionValue]]
"""The options of each engine by its name."""

_OPTION = re.compile(r"(?P<engine>[a-z0-9][a-z0-9._-]{0,31}?)\.(?P<key>[a-z][a-z0-9_]{0,31})=")


class EngineOptionsFile(WireModel, frozen=True, kw_only=True):
    """A file of options."""

    schema: Literal["aprqa-engine-options/1"]
    engines: dict[str, dict[str, OptionValue]]


def parse_options(texts: Iterable[str]) -> dict[str, dict[str, OptionValue]]:
    """Read options given as ``ENGINE.KEY=VALUE``.

    A value is text, or JSON where it is a JSON number, true, false, or a list of texts; a text that
    would be one of those is written as a JSON string.

    Raises:
        InputError: with every one that is not of that form.
    """
    options: dict[str, dict[str, OptionValue]] = {}
    problems = []
    for text in texts:
        found = _OPTION.match(text)
        if found is None:
            problems.append(
                Problem(
                    what=f"{text!r} is not an engine's option",
                    hint="write ENGINE.KEY=VALUE, for example openai.url=http://127.0.0.1:8000",
                )
            )
            continue
        try:
            value = _value(text[found.end() :])
        except msgspec.ValidationError as error:
            problems.append(Problem(what=f"{text!r}: {error}"))
            continue
        options.setdefault(found["engine"], {})[found["key"]] = value
    if problems:
        raise InputError(problems)
    return options


def read_options(path: Path) -> dict[str, dict[str, OptionValue]]:
    """Read a file of options.

    Raises:
        InputError: the file is missing, no YAML, or not of the form.
    """
    document: YamlDocument = read_yaml(read_bounded(path, MAX_YAML_BYTES), source=path)
    try:
        return msgspec.convert(document.data, type=EngineOptionsFile).engines
    except msgspec.ValidationError as error:
        raise InputError(Problem(what=str(error), path=path, line=1)) from error


def machine_options(
    environment: Mapping[str, str], given: EngineOptions
) -> dict[str, dict[str, OptionValue]]:
    """Return what engines are told on this machine: by the file in the environment, and by hand.

    Raises:
        InputError: the file cannot be read.
    """
    path = environment.get(OPTIONS_VARIABLE)
    return merged_options(read_options(Path(path)) if path else {}, given)


def merged_options(*sources: EngineOptions) -> dict[str, dict[str, OptionValue]]:
    """Return the options of all sources; of an option given twice the last one holds."""
    merged: dict[str, dict[str, OptionValue]] = {}
    for source in sources:
        for engine, options in source.items():
            merged.setdefault(engine, {}).update(options)
    return merged


def options_digest(options: Mapping[str, OptionValue]) -> str:
    """Return the SHA-256 of an engine's options; nothing for none.

    Secrets are no part of them: options name the environment variables that hold such.
    """
    return digest_of(dict(options)) if options else ""


def _value(text: str) -> OptionValue:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return text
    value: OptionValue = msgspec.convert(found, type=OptionValue)
    return value
