"""The replies of OpenAI-compatible servers, as the client reads them."""

import time
from collections.abc import Callable
from typing import Any, Literal, NoReturn, TypeVar

import msgspec

from aprqa_ci.execution.engines.interface import Answer, EngineFailedError
from aprqa_ci.execution.engines.openai_errors import raise_error

__all__ = ["Collected", "ModelEntry", "ModelList", "Reply", "decode_reply", "raise_failed"]

ModelT = TypeVar("ModelT")


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Text(msgspec.Struct):
    """Holds the text of a choice, wherever the kind of reply has it."""

    text: str | None = None
    message: "_Content | None" = None
    delta: "_Content | None" = None
    finish_reason: str | None = None

    @property
    def piece(self) -> str:
        content = self.message or self.delta
        return (self.text if content is None else content.content) or ""


class _Content(msgspec.Struct):
    content: str | None = None


class Reply(msgspec.Struct):
    """A whole reply, or one event of a streamed one."""

    choices: list[_Text] = []
    usage: _Usage | None = None
    error: Any = None


class ModelEntry(msgspec.Struct):
    """A model that a server says it has."""

    id: str
    max_model_len: int | None = None
    """The context in tokens, where the server says it (vLLM, SGLang)."""
    meta: Any = None
    """Where llama.cpp says it."""

    @property
    def context_length(self) -> int:
        """The context in tokens; 0 where it is not said."""
        told = self.meta if isinstance(self.meta, dict) else {}
        found = self.max_model_len or told.get("n_ctx")
        return found if isinstance(found, int) and found > 0 else 0


class ModelList(msgspec.Struct):
    """The models of a server."""

    data: list[ModelEntry]


class Collected:
    """Puts the parts of an answer together."""

    def __init__(
        self, started: float, on_text: Callable[[str], None] | None, *, foreign: bool
    ) -> None:
        self._started = started
        self._on_text = on_text
        self._foreign = foreign
        self._pieces: list[str] = []
        self._first_ms: float | None = None
        self._finish: str | None = None
        self._usage: _Usage | None = None

    def take(self, reply: Reply) -> None:
        """Add a whole reply, or one event."""
        if reply.error is not None:
            raise_error(200, msgspec.json.encode({"error": reply.error}), foreign=self._foreign)
        self._usage = reply.usage or self._usage
        for choice in reply.choices[:1]:
            self._finish = choice.finish_reason or self._finish
            if choice.piece:
                self._pieces.append(choice.piece)
                self._first_ms = self._first_ms or self._elapsed_ms()
                if self._on_text is not None:
                    self._on_text(choice.piece)

    def answer(self, *, streamed: bool) -> Answer:
        """Return the whole answer."""
        finish: Literal["stop", "length"]
        match self._finish:
            case "stop":
                finish = "stop"
            case "length":
                finish = "length"
            case _:
                raise_failed(f"the answer's finish_reason is {self._finish!r}")
        if self._usage is None:
            raise_failed("the server did not count its tokens (usage)")
        return Answer(
            text="".join(self._pieces),
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens,
            finish=finish,
            time_to_first_token_ms=self._first_ms if streamed else None,
            duration_ms=self._elapsed_ms(),
        )

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000


def decode_reply(data: bytes, model: type[ModelT]) -> ModelT:
    """Decode a reply.

    Raises:
        EngineFailedError: it is none of that form.
    """
    try:
        return msgspec.json.decode(data, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise_failed(f"the reply cannot be understood ({error}): {data[:80]!r}")


def raise_failed(what: str) -> NoReturn:
    """Raise that the server failed."""
    raise EngineFailedError(what)
