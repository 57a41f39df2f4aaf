"""Parameters of prompts: how each gets its value, and how values are put into texts.

Parameters are written ``{name}`` wherever text stands. A text that is nothing but ``{name:int}``
becomes the whole number itself, so that an oracle can expect the JSON value 7 rather than ``"7"``.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from aprqa_ci.wire import WireModel

__all__ = ["Lists", "Parameter", "Value", "draw_values", "fill", "fill_text", "names_in"]

Value = int | str
"""What a parameter is drawn as."""

Lists = Mapping[str, Sequence[str | dict[str, str]]]
"""Named lists that parameters may choose from."""

ItemT = TypeVar("ItemT")

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_NUMBER = re.compile(r"\{([a-z][a-z0-9_]*):int\}")


class Parameter(WireModel, frozen=True, kw_only=True):
    """How one parameter gets its value; exactly one of the ways is set.

    ``int``, ``choice``, ``row`` and ``words`` are drawn; the others are worked out from parameters
    that stand above. Bounds and operands are whole numbers or names of such parameters.
    """

    integer: tuple[int | str, int | str] | None = msgspec.field(name="int", default=None)
    """A whole number between two bounds, both included."""
    choice: tuple[str, ...] | str | None = None
    """One of these texts, or of the named list of texts."""
    row: tuple[dict[str, str], ...] | str | None = None
    """One of these rows, or of the named list of rows; its keys become parameters."""
    words: tuple[int, int] | None = None
    """So many (least, most) different items of the list ``of``, joined by spaces."""
    of: str | None = None
    total: tuple[int | str, int | str] | None = msgspec.field(name="sum", default=None)
    difference: tuple[int | str, int | str] | None = None
    product: tuple[int | str, int | str] | None = None
    numbers: tuple[int | str, int | str] | None = msgspec.field(name="range", default=None)
    """All whole numbers from the first to the last, written ``1, 2, 3``."""
    upper: str | None = None
    """The named parameter in capital letters."""
    first: str | None = None
    """The first letter of the named parameter."""

    def __post_init__(self) -> None:
        """Check that one way is set.

        Raises:
            ValueError: none or several are, or ``words`` and ``of`` do not come together.
        """
        ways = [
            field.encode_name
            for field in msgspec.structs.fields(self)
            if field.name != "of" and getattr(self, field.name) is not None
        ]
        if len(ways) != 1:
            what = f"a parameter is drawn in exactly one way, not {ways}"
            raise ValueError(what)
        if (self.words is None) != (self.of is None):
            what = "words and of come together"
            raise ValueError(what)


def draw_values(
    parameters: Mapping[str, Parameter], lists: Lists, generator: random.Random
) -> dict[str, Value]:
    """Draw all parameters in their order.

    Only ``generator.random()`` is used, the one method whose sequence Python promises to keep.

    Raises:
        KeyError: a parameter names a list or an earlier parameter that is not there.
        ValueError: the bounds leave nothing to draw, or a list holds items of the wrong kind.
    """
    values: dict[str, Value] = {}
    for name, parameter in parameters.items():
        if parameter.row is not None:
            values.update(_pick(_rows(parameter.row, lists), generator))
        else:
            values[name] = _draw(parameter, values, lists, generator)
    return values


def fill(template: Any, values: Mapping[str, Value]) -> Any:  # noqa: ANN401 - any JSON value
    """Put values into every text of a JSON value, keys included.

    Raises:
        KeyError: a text names a parameter that has no value.
    """
    if isinstance(template, str):
        number = _NUMBER.fullmatch(template)
        return int(values[number[1]]) if number else fill_text(template, values)
    if isinstance(template, Mapping):
        return {fill_text(key, values): fill(item, values) for key, item in template.items()}
    if isinstance(template, Sequence):
        return [fill(item, values) for item in template]
    return template


def fill_text(template: str, values: Mapping[str, Value]) -> str:
    """Put values into one text.

    Raises:
        KeyError: the text names a parameter that has no value.
    """
    return _PLACEHOLDER.sub(lambda found: str(values[found[1]]), template)


def names_in(template: str) -> set[str]:
    """Return the names of the parameters that a text asks for."""
    return {*_PLACEHOLDER.findall(template), *_NUMBER.findall(template)}


def _draw(
    parameter: Parameter,
    values: Mapping[str, Value],
    lists: Lists,
    generator: random.Random,
) -> Value:
    def number(operand: int | str) -> int:
        return operand if isinstance(operand, int) else int(values[operand])

    if parameter.integer is not None:
        low, high = map(number, parameter.integer)
        if low > high:
            what = f"there is no whole number from {low} to {high}"
            raise ValueError(what)
        return low + _below(high - low + 1, generator)
    if parameter.choice is not None:
        return _pick(_texts(parameter.choice, lists), generator)
    if parameter.words is not None and parameter.of is not None:
        return " ".join(_several(_texts(parameter.of, lists), *parameter.words, generator))
    if parameter.total is not None:
        left, right = map(number, parameter.total)
        return left + right
    if parameter.difference is not None:
        left, right = map(number, parameter.difference)
        return left - right
    if parameter.product is not None:
        left, right = map(number, parameter.product)
        return left * right
    if parameter.numbers is not None:
        low, high = map(number, parameter.numbers)
        return ", ".join(str(value) for value in range(low, high + 1))
    if parameter.upper is not None:
        return str(values[parameter.upper]).upper()
    return str(values[str(parameter.first)])[0]


def _below(limit: int, generator: random.Random) -> int:
    return int(generator.random() * limit)


def _pick(items: Sequence[ItemT], generator: random.Random) -> ItemT:
    return items[_below(len(items), generator)]


def _several(items: Sequence[str], least: int, most: int, generator: random.Random) -> list[str]:
    count = least + _below(most - least + 1, generator)
    rest = list(items)
    return [rest.pop(_below(len(rest), generator)) for _ in range(count)]


def _texts(source: Sequence[str] | str, lists: Lists) -> list[str]:
    items = lists[source] if isinstance(source, str) else source
    texts = [item for item in items if isinstance(item, str)]
    if not texts or len(texts) != len(items):
        what = f"{source!r} is not a list of texts"
        raise ValueError(what)
    return texts


def _rows(source: Sequence[dict[str, str]] | str, lists: Lists) -> list[dict[str, str]]:
    items = lists[source] if isinstance(source, str) else source
    rows = [item for item in items if isinstance(item, dict)]
    if not rows or len(rows) != len(items):
        what = f"{source!r} is not a list of rows"
        raise ValueError(what)
    return rows
