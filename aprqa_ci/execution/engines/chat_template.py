"""Rendering a conversation with the model's own chat template, the same for every engine.

Engines' own chat handlers put different system prompts around the same messages, so the text that a
model is asked would depend on the engine. It is rendered here instead, as Hugging Face transformers
does it, and every engine continues the same raw text.

A template is a program by the model's author and is not trusted: it runs in Jinja2's immutable
sandbox, with bounds on its source, its loops and its output. What those bounds cannot reach is
ended by the limits of the process that it runs in.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
from jinja2.exceptions import SecurityError

from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines.interface import EngineFailedError, Message, ModelLoadError
from aprqa_ci.files import read_bounded
from aprqa_ci.json_text import parse_json

__all__ = [
    "MAX_LOOP_STEPS",
    "MAX_RENDERED_CHARS",
    "MAX_TEMPLATE_CHARS",
    "PLAIN_TEMPLATE",
    "ChatTemplate",
    "ConversationRefusedError",
    "chat_template_from_gguf",
    "gguf_token",
    "load_chat_template",
]

MAX_TEMPLATE_CHARS: Final = 1 << 18
"""The longest source that is compiled; the longest in use are about a tenth of it."""
MAX_RENDERED_CHARS: Final = 1 << 22
"""The longest text that a template may make, of the whole and of any product inside it."""
MAX_LOOP_STEPS: Final = 1_000_000
"""The most numbers that all ``range`` calls of one rendering may hand out together."""

_MAX_CONFIG_BYTES = 16 << 20
_MAX_POWER_BITS = 1 << 12
_TODAY = datetime(2024, 7, 26, tzinfo=UTC)
"""The day that templates are told unless the caller says otherwise: the one that Llama 3's template
falls back to. With the real day, the same question would be another prompt tomorrow."""


class ConversationRefusedError(EngineFailedError):
    """The template refuses a conversation in words of its own: it calls ``raise_exception``."""


class _RefusalError(jinja2.TemplateError):
    """What ``raise_exception`` raises in a template."""


def _fixed_day() -> datetime:
    return _TODAY


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox with bounds on products, powers and ranges."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationBlock, jinja2.ext.loopcontrols],
        )
        self.steps_left = MAX_LOOP_STEPS
        self.filters["tojson"] = _to_json
        self.globals["raise_exception"] = _refuse
        self.globals["strftime_now"] = lambda form: now().strftime(form)
        self.globals["range"] = self._range

    def _range(self, *bounds: int) -> range:
        numbers = range(*bounds)
        self.steps_left -= len(numbers)
        if self.steps_left < 0:
            what = f"its loops take more than {MAX_LOOP_STEPS} steps"
            raise SecurityError(what)
        return numbers

    def call_binop(
        self,
        context: jinja2.runtime.Context,
        operator: str,
        left: Any,  # noqa: ANN401 - the types that jinja2 declares
        right: Any,  # noqa: ANN401 - the types that jinja2 declares
    ) -> Any:  # noqa: ANN401 - the types that jinja2 declares
        what = ""
        if operator == "*" and _product_length(left, right) > MAX_RENDERED_CHARS:
            what = "it repeats a text or list too often"
        elif operator == "**" and _power_bits(left, right) > _MAX_POWER_BITS:
            what = "it raises a number to too high a power"
        if what:
            raise SecurityError(what)
        return super().call_binop(context, operator, left, right)


class _GenerationBlock(jinja2.ext.Extension):
    """``{% generation %}`` marks the assistant's words for training; here it only passes them."""

    tags = {"generation"}  # noqa: RUF012 - the type that jinja2 declares

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """One chat template, compiled when it is first used.

    Args:
        source: the Jinja2 source.
        bos_token: the text of the model's token for a beginning, which templates may name.
        eos_token: the text of the model's token for an end.
        now: the clock behind the template's ``strftime_now``; a fixed day unless given.
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        now: Callable[[], datetime] = _fixed_day,
    ) -> None:
        self.source = source
        self.bos_token = bos_token
        self.eos_token = eos_token
        self._now = now

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> str:
        """Render a conversation.

        Args:
            messages: the conversation so far.
            add_generation_prompt: end with the head of the assistant's next message.

        Raises:
            ConversationRefusedError: the template refuses the conversation.
            EngineFailedError: the template is too long, is not valid Jinja2, does what the sandbox
                forbids, or makes too long a text.
        """
        pieces: list[str] = []
        size = 0
        try:
            self._environment.steps_left = MAX_LOOP_STEPS
            for piece in self._template.generate(
                messages=[{"role": each.role, "content": each.content} for each in messages],
                tools=None,
                documents=None,
                add_generation_prompt=add_generation_prompt,
                bos_token=self.bos_token,
                eos_token=self.eos_token,
            ):
                size += len(piece)
                if size > MAX_RENDERED_CHARS:
                    _raise_exception(f"it makes more than {MAX_RENDERED_CHARS} characters")
                pieces.append(piece)
        except MemoryError:
            raise
        except Exception as error:
            # The template is a program of the model's author: it can raise anything.
            what = f"the model's chat template cannot be rendered: {str(error) or repr(error)}"
            if isinstance(error, _RefusalError):
                raise ConversationRefusedError(what) from error
            raise EngineFailedError(what) from error
        return "".join(pieces)

    @cached_property
    def _environment(self) -> _Sandbox:
        return _Sandbox(self._now)

    @cached_property
    def _template(self) -> jinja2.Template:
        if len(self.source) > MAX_TEMPLATE_CHARS:
            _raise_exception(f"its source is longer than {MAX_TEMPLATE_CHARS} characters")
        return self._environment.from_string(self.source)


PLAIN_TEMPLATE: Final = ChatTemplate(
    "{% for message in messages %}{{ message['content'] }}"
    "{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}"
)
"""For a model without a template: what was said, a line break between the messages."""


def load_chat_template(directory: Path) -> ChatTemplate | None:
    """Load the template beside a model's SafeTensors files.

    ``chat_template.jinja`` goes before the ``chat_template`` of ``tokenizer_config.json``, which is
    a text or a list of named ones, of which ``default`` counts.

    Returns:
        The template, or nothing when the model has none.

    Raises:
        ModelLoadError: one of the two files is there and cannot be read or understood.
    """
    config = _tokenizer_config(directory / "tokenizer_config.json")
    file = directory / "chat_template.jinja"
    if file.exists():
        # A byte beyond four for every character is certainly too long a source.
        source = _text(file, MAX_TEMPLATE_CHARS * 4)
    else:
        found = _source_of(config.get("chat_template"), directory / "tokenizer_config.json")
        if found is None:
            return None
        source = found
    return ChatTemplate(
        source,
        bos_token=_token_text(config.get("bos_token")),
        eos_token=_token_text(config.get("eos_token")),
    )


def chat_template_from_gguf(metadata: Mapping[str, object]) -> ChatTemplate | None:
    """Take the template out of a GGUF file's metadata, if the model has one.

    Args:
        metadata: the file's keys and values; arrays are lists.
    """
    source = metadata.get("tokenizer.chat_template")
    if not isinstance(source, str) or not source:
        return None
    return ChatTemplate(
        source,
        bos_token=gguf_token(metadata, "tokenizer.ggml.bos_token_id"),
        eos_token=gguf_token(metadata, "tokenizer.ggml.eos_token_id"),
    )


def gguf_token(metadata: Mapping[str, object], key: str) -> str:
    """Return the text of the token whose id stands under ``key``, or nothing."""
    number = metadata.get(key)
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(number, int) or not isinstance(tokens, list):
        return ""
    token = tokens[number] if 0 <= number < len(tokens) else ""
    return token if isinstance(token, str) else ""


def _text(path: Path, limit: int) -> str:
    try:
        return read_bounded(path, limit).decode("utf-8")
    except (InputError, UnicodeDecodeError) as error:
        what = f"{path.name} cannot be read: {error}"
        raise ModelLoadError(what) from error


def _tokenizer_config(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        config = parse_json(_text(path, _MAX_CONFIG_BYTES))
    except ValueError as error:
        what = f"{path.name} is not valid JSON: {error}"
        raise ModelLoadError(what) from error
    if not isinstance(config, dict):
        what = f"{path.name} is not a JSON object"
        raise ModelLoadError(what)
    return config


def _source_of(found: object, path: Path) -> str | None:
    """Return the template that counts among what ``chat_template`` may be."""
    if found is None or isinstance(found, str):
        return found or None
    named: dict[str, str] = {}
    for entry in found if isinstance(found, list) else [found]:
        name, template = (
            (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(name, str) or not isinstance(template, str):
            what = f"{path.name}: chat_template is neither a text nor a list of named templates"
            raise ModelLoadError(what)
        named[name] = template
    if not named:
        return None
    # A model without a default one loads; it is only a conversation that it cannot have.
    return named.get("default", "{{ raise_exception('none of its templates is the default') }}")


def _token_text(found: object) -> str:
    """Return a special token's text, written as a string or as an object with ``content``."""
    text = found.get("content") if isinstance(found, dict) else found
    return text if isinstance(text, str) else ""


def _product_length(left: object, right: object) -> int:
    """Return how long the product of a sequence and a number is; 0 when it is none."""
    for sequence, times in ((left, right), (right, left)):
        if isinstance(sequence, (str, list, tuple, bytes)) and isinstance(times, int):
            return len(sequence) * times
    return 0


def _power_bits(left: object, right: object) -> int:
    """Return about how many bits the power of two whole numbers has; 0 when they are none."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * abs(right)
    return 0


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - the order that templates rely on
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002 - the order that templates rely on
) -> str:
    """Encode as JSON without the HTML escapes of Jinja2's own filter, as transformers does."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _refuse(message: str) -> NoReturn:
    raise _RefusalError(message)
