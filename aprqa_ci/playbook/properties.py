"""What a property test says: ``data/properties.yaml`` has the words."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.playbook.finding import Finding
from aprqa_ci.wire import WireModel, near_name

__all__ = [
    "Generator",
    "PropertyError",
    "property_findings",
    "property_oracle",
    "read_generator",
]

PropertyOracle = Literal["own", "code_syntax", "response", "garbage", "repeat"]

_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})\(([^()]*)\)")
_RANGE = re.compile(r"(-?[0-9]{1,6})\.\.=?(-?[0-9]{1,6})")
_INTEGER = re.compile(r"[iu](?:8|16|32|64)")
_WORD = re.compile(r"[A-Za-z0-9+#-]{1,32}")
_DIVIDE = "/"


class PropertyError(ValueError):
    """A generator or an oracle that means nothing."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class _Integers(WireModel, frozen=True, kw_only=True):
    least: int
    most: int


class _GeneratorEntry(WireModel, frozen=True, kw_only=True):
    parameters: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()


class _PropertiesFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-properties/1"]
    most_drawn: int
    integers: _Integers
    operators: tuple[str, ...]
    generators: dict[str, _GeneratorEntry]
    oracles: dict[PropertyOracle, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Generator:
    """How the prompts of a property are drawn."""

    name: str
    suites: tuple[str, ...]
    """The prompt suites; none for questions of arithmetic."""
    operands: tuple[tuple[int, int], tuple[int, int]]
    """The least and the most of either operand."""
    operators: tuple[str, ...]
    languages: tuple[str, ...]
    """The languages that code is asked for in; none are all."""


def _file() -> _PropertiesFile:
    return load_data("properties.yaml", _PropertiesFile)


def read_generator(text: str) -> Generator:
    """Read ``arithmetic(a: 1..10, b: i32, op: +|-)`` and its kin.

    Raises:
        PropertyError: an unknown generator or parameter, or a value that means nothing.
    """
    known = _file().generators
    call = _CALL.fullmatch(text.strip())
    if call is None:
        what = f"{text[:64]!r} is no generator, such as arithmetic() or code_prompt(lang: python)"
        raise PropertyError(what)
    name, inside = call[1], call[2].strip()
    if name not in known:
        hint = near_name(name, list(known)) or f"known: {', '.join(known)}"
        what = f"there is no generator {name!r}"
        raise PropertyError(what, hint=hint)
    values = dict(_parameters(name, inside, known[name].parameters))
    drawn = (_file().integers.least, _file().integers.most)
    return Generator(
        name=name,
        suites=known[name].suites,
        operands=(_range(values.get("a"), drawn), _range(values.get("b"), drawn)),
        operators=_operators(values.get("op")),
        languages=_languages(values.get("lang")),
    )


def property_oracle(text: str) -> PropertyOracle:
    """Return what a property asks of an answer.

    Raises:
        PropertyError: the words are unknown.
    """
    spellings = _spellings()
    found = spellings.get("".join(text.split()))
    if found is None:
        known = [spelling for listed in _file().oracles.values() for spelling in listed]
        what = f"there is no property {text[:64]!r}"
        hint = near_name(text, known) or f"known: {'; '.join(known)}"
        raise PropertyError(what, hint=hint)
    return found


def property_findings(section: object) -> Iterator[Finding]:
    """Find properties that nothing can test, and sections that draw too many prompts.

    Args:
        section: the ``property_tests`` of a playbook's data, made regular.
    """
    if not isinstance(section, Mapping):
        return
    tests = section.get("tests")
    names: set[str] = set()
    for number, test in enumerate(tests if isinstance(tests, list) else ()):
        if not isinstance(test, Mapping):
            continue
        where = ("property_tests", "tests", number)
        name = test.get("name")
        if isinstance(name, str) and name in names:
            what = f"`property_tests.tests[{number}]` is the property {name!r} again"
            yield Finding(path=(*where, "name"), what=what)
        elif isinstance(name, str):
            names.add(name)
        for key, read in (("generator", read_generator), ("oracle", property_oracle)):
            text = test.get(key)
            if isinstance(text, str):
                try:
                    read(text)
                except PropertyError as error:
                    what = f"`property_tests.tests[{number}].{key}`: {error.what}"
                    yield Finding(path=(*where, key), what=what, hint=error.hint)
    drawn = _drawn(section, tests)
    if drawn > _file().most_drawn:
        what = f"`property_tests` draws {drawn} prompts, at most {_file().most_drawn} are drawn"
        yield Finding(path=("property_tests",), what=what, hint="lower `count` or `cases`")


def _drawn(section: Mapping[str, Any], tests: object) -> int:
    cases = section.get("cases", 100)
    total = 0
    for test in tests if isinstance(tests, list) else ():
        count = test.get("count", cases) if isinstance(test, Mapping) else 0
        total += count if isinstance(count, int) else 0
    return total


@cache
def _spellings() -> dict[str, PropertyOracle]:
    return {
        "".join(spelling.split()): kind
        for kind, listed in _file().oracles.items()
        for spelling in listed
    }


def _parameters(name: str, inside: str, allowed: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for part in inside.split(",") if inside else ():
        key, colon, value = part.partition(":")
        key, value = key.strip(), value.strip()
        if not colon or not value:
            what = f"{part.strip()!r} in {name}(…) is not `name: value`"
            raise PropertyError(what)
        if key not in allowed:
            what = f"{name}(…) takes no {key!r}"
            hint = f"it takes {', '.join(allowed)}" if allowed else "it takes nothing"
            raise PropertyError(what, hint=hint)
        yield key, value


def _range(text: str | None, drawn: tuple[int, int]) -> tuple[int, int]:
    if text is None or _INTEGER.fullmatch(text):
        return drawn
    found = _RANGE.fullmatch(text.replace(" ", ""))
    if found is None or int(found[1]) > int(found[2]):
        what = f"{text[:32]!r} is neither an integer type nor a range such as 1..10"
        raise PropertyError(what)
    return int(found[1]), int(found[2])


def _operators(text: str | None) -> tuple[str, ...]:
    known = _file().operators
    if text is None:
        return known
    found = tuple(part.strip() for part in text.split("|"))
    if not set(found) <= {*known, _DIVIDE}:
        what = f"{text[:32]!r} is not made of + - * / with | between them"
        raise PropertyError(what)
    return found


def _languages(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    found = tuple(part.strip().lower() for part in text.split("|"))
    if not all(_WORD.fullmatch(part) for part in found):
        what = f"{text[:32]!r} is not made of languages with | between them"
        raise PropertyError(what)
    return found
