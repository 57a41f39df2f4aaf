"""A client for OpenAI-compatible servers on the loopback interface.

It trusts no server: replies are bounded, checked, and counted only by what the server counted.
"""

import contextlib
import http.client
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal, NoReturn, Self, TypeVar
from urllib.parse import urlsplit

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
)

__all__ = ["MAX_REPLY_BYTES", "HttpReply", "OpenAIClient"]

MAX_REPLY_BYTES: Final = 16 << 20
"""The most bytes that are read of one reply, streamed or not."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MAX_LINE_BYTES = 1 << 20
_REFUSALS = frozenset({"exceed_context_size_error", "context_length_exceeded"})
_MESSAGE_CHARS = 500

ModelT = TypeVar("ModelT")


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """What a server answered, undecoded."""

    status: int
    body: bytes


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


class _Reply(msgspec.Struct):
    """A whole reply, or one event of a streamed one."""

    choices: list[_Text] = []
    usage: _Usage | None = None
    error: Any = None


class _ErrorBody(msgspec.Struct):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _ErrorReply(msgspec.Struct):
    error: _ErrorBody


class OpenAIClient:
    """Talks to one server; a connection for each request.

    Args:
        base_url: ``http://127.0.0.1:PORT``. Only loopback is spoken to: what is measured must not
            depend on a network.
        timeout_s: the most seconds that one request may take, connecting and reading included.
        model: what the server calls the model; one with a single model takes any name.

    Raises:
        InputError: the address is not plain HTTP on loopback.
    """

    def __init__(self, base_url: str, timeout_s: float, *, model: str = "model") -> None:
        try:
            parts = urlsplit(base_url)
            host, port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise InputError(Problem(what=f"{base_url!r} is not an address: {error}")) from error
        if parts.scheme != "http" or host not in _LOOPBACK:
            raise InputError(
                Problem(
                    what=f"{base_url!r} is not plain HTTP on the loopback interface",
                    hint="give an address such as http://127.0.0.1:8080",
                )
            )
        self._host = host
        self._port = port
        self._path = parts.path.rstrip("/")
        self._timeout_s = timeout_s
        self._model = model

    def health(self) -> int:
        """Return the status code of ``GET /health``.

        Raises:
            EngineFailedError: the server cannot be reached.
        """
        return self.post_raw("/health", b"", {}, method="GET").status

    def complete(self, prompt: str, sampling: Sampling, *, stream: bool = False) -> Answer:
        """Have raw text continued by ``/v1/completions``.

        Tokens are counted as the server counts them; llama.cpp's counts the end token too. The
        time to the first token is that of the first piece of text, and known of a stream only.

        Raises:
            PromptRefusedError: the server says that the prompt exceeds the context.
            EngineFailedError: it cannot be reached, answers another error, breaks off, or answers
                what cannot be understood or has no count of tokens.
        """
        return self._ask("/v1/completions", {"prompt": prompt}, sampling, stream=stream)

    def chat(
        self, messages: Sequence[Message], sampling: Sampling, *, stream: bool = False
    ) -> Answer:
        """Have a conversation continued by ``/v1/chat/completions``.

        Raises:
            PromptRefusedError: as for :meth:`complete`.
            EngineFailedError: as for :meth:`complete`.
        """
        conversation = [{"role": each.role, "content": each.content} for each in messages]
        return self._ask(
            "/v1/chat/completions", {"messages": conversation}, sampling, stream=stream
        )

    def post_raw(
        self, path: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST"
    ) -> HttpReply:
        """Send these bytes with these headers, right or wrong, and return what comes back.

        ``Content-Length`` is added unless the headers have it or a transfer encoding.

        Raises:
            EngineFailedError: the server cannot be reached or does not answer in time.
        """
        with self._exchange(method, path, body, headers) as exchange:
            return HttpReply(status=exchange.status, body=exchange.read())

    def _ask(self, path: str, asked: dict[str, Any], sampling: Sampling, *, stream: bool) -> Answer:
        request = {
            **asked,
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": stream,
        }
        if sampling.stop:
            request["stop"] = list(sampling.stop)
        if stream:
            request["stream_options"] = {"include_usage": True}
        try:
            body = msgspec.json.encode(request)
        except UnicodeEncodeError as error:
            what = f"the prompt is not valid Unicode: {error.reason}"
            raise PromptRefusedError(what) from error
        started = time.perf_counter()
        with self._exchange("POST", path, body, {"Content-Type": "application/json"}) as exchange:
            if exchange.status != 200:
                _raise_error(exchange.status, exchange.read())
            collected = _Collected(started)
            for data in exchange.events() if stream else (exchange.read(),):
                collected.take(_decode(data, _Reply))
            return collected.answer(streamed=stream)

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> "_Exchange":
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        deadline = time.monotonic() + self._timeout_s
        names = {name.lower() for name in headers}
        try:
            connection.putrequest(method, self._path + path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if not names & {"content-length", "transfer-encoding"}:
                connection.putheader("Content-Length", str(len(body)))
            # The server may answer before it has read all; that answer counts.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.endheaders(body)
            return _Exchange(connection, connection.getresponse(), deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            _raise_broken(error)


class _Exchange:
    """A reply that is being read, within its bounds of size and time."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
        deadline: float,
    ) -> None:
        self._connection = connection
        self._response = response
        self._deadline = deadline
        self._left = MAX_REPLY_BYTES
        self.status = response.status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()
        self._connection.close()

    def read(self) -> bytes:
        """Return the whole body."""
        pieces: list[bytes] = []
        try:
            while piece := self._response.read1(1 << 16):
                self._count(piece)
                pieces.append(piece)
        except (OSError, http.client.HTTPException, ValueError) as error:
            _raise_broken(error)
        if self._response.length:
            _raise_failed("the reply broke off before its end")
        return b"".join(pieces)

    def events(self) -> Iterator[bytes]:
        """Return the data of each server-sent event up to ``[DONE]``."""
        while True:
            try:
                line = self._response.readline(_MAX_LINE_BYTES)
            except (OSError, http.client.HTTPException, ValueError) as error:
                _raise_broken(error)
            self._count(line)
            if not line.endswith(b"\n"):
                _raise_failed("the stream broke off before its end")
            name, _, value = line.rstrip(b"\r\n").partition(b":")
            if name != b"data":
                # An empty line ends an event, an empty name is a comment; other fields say nothing.
                if name not in {b"", b"event", b"id", b"retry"}:
                    _raise_failed(f"the stream has a line that is none of an event: {line[:80]!r}")
                continue
            if value.strip() == b"[DONE]":
                return
            yield value

    def _count(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            _raise_failed(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
        if time.monotonic() > self._deadline:
            _raise_failed("the reply did not end in time")


class _Collected:
    """Puts the parts of an answer together."""

    def __init__(self, started: float) -> None:
        self._started = started
        self._pieces: list[str] = []
        self._first_ms: float | None = None
        self._finish: str | None = None
        self._usage: _Usage | None = None

    def take(self, reply: _Reply) -> None:
        """Add a whole reply, or one event."""
        if reply.error is not None:
            _raise_error(200, msgspec.json.encode({"error": reply.error}))
        self._usage = reply.usage or self._usage
        for choice in reply.choices[:1]:
            self._finish = choice.finish_reason or self._finish
            if choice.piece:
                self._pieces.append(choice.piece)
                self._first_ms = self._first_ms or self._elapsed_ms()

    def answer(self, *, streamed: bool) -> Answer:
        """Return the whole answer."""
        finish: Literal["stop", "length"]
        match self._finish:
            case "stop":
                finish = "stop"
            case "length":
                finish = "length"
            case _:
                _raise_failed(f"the answer's finish_reason is {self._finish!r}")
        if self._usage is None:
            _raise_failed("the server did not count its tokens (usage)")
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


def _decode(data: bytes, model: type[ModelT]) -> ModelT:
    try:
        return msgspec.json.decode(data, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _raise_failed(f"the reply cannot be understood ({error}): {data[:80]!r}")


def _raise_error(status: int, body: bytes) -> NoReturn:
    """Raise what an error reply means."""
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # A prompt longer than any body that the server takes is refused in good order (RFC 9110).
        what = f"the server answered {status}: the prompt is larger than what it takes"
        raise PromptRefusedError(what)
    try:
        error = msgspec.json.decode(body, type=_ErrorReply).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        shown = body[:_MESSAGE_CHARS].decode("utf-8", errors="replace")
        _raise_failed(f"the server answered {status}: {shown}")
    if {error.type, str(error.code)} & _REFUSALS:
        raise PromptRefusedError(error.message)
    _raise_failed(f"the server answered {status}: {error.message[:_MESSAGE_CHARS]}")


def _raise_broken(error: Exception) -> NoReturn:
    reason = "no answer in time" if isinstance(error, TimeoutError) else repr(error)
    what = f"the exchange with the server failed: {reason}"
    raise EngineFailedError(what) from error


def _raise_failed(what: str) -> NoReturn:
    raise EngineFailedError(what)
