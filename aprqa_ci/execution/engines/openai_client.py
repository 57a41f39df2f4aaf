"""A client for OpenAI-compatible servers, on the loopback interface unless it is told otherwise.

It trusts no server: replies are bounded, checked, and counted only by what the server counted.
"""

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn, Self
from urllib.parse import urlsplit

import msgspec

from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    Message,
    NotOfferedError,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.openai_errors import raise_error
from aprqa_ci.execution.engines.openai_replies import (
    Collected,
    ModelEntry,
    ModelList,
    Reply,
    decode_reply,
    raise_failed,
)

__all__ = ["MAX_REPLY_BYTES", "HttpReply", "OpenAIClient"]

MAX_REPLY_BYTES: Final = 16 << 20
"""The most bytes that are read of one reply, streamed or not."""

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """What a server answered, undecoded."""

    status: int
    body: bytes


class OpenAIClient:
    """Talks to one server; a connection for each request.

    Args:
        base_url: ``http://127.0.0.1:PORT``. Only loopback is spoken to: what is measured must not
            depend on a network.
        timeout_s: the most seconds that one request may take, connecting and reading included.
        model: what the server calls the model. Without it requests say ``model``, which many a
            server with a single model takes; others want :meth:`only_model`.
        api_key: is sent as the bearer of every request.
        foreign: whether the server is somebody else's: it may be anywhere, over HTTPS too, and its
            errors mean what :func:`raise_error` says of such.
        settings: further settings of every request to the model.

    Raises:
        InputError: the address is no such address, or a key would be sent in plain sight.
    """

    def __init__(
        self,
        base_url: str,
        timeout_s: float,
        *,
        model: str | None = None,
        api_key: str = "",
        foreign: bool = False,
        settings: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        try:
            parts = urlsplit(base_url)
            host = parts.hostname or ""
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise InputError(Problem(what=f"{base_url!r} is not an address: {error}")) from error
        near = parts.scheme == "http" and host in _LOOPBACK
        if foreign and not near:
            _check_foreign(base_url, parts.scheme, host, api_key)
        elif not near:
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
        self._model = model or "model"
        self._api_key = api_key
        self._foreign = foreign
        self._settings = dict(settings)
        self._secure = parts.scheme == "https"

    def models(self) -> list[ModelEntry]:
        """Return the models that the server says it has.

        Raises:
            EngineFailedError: it cannot be reached or answers something else.
            EngineAbsentError: it is somebody else's and does not let us in.
            NotOfferedError: it is somebody else's and does not say.
        """
        reply = self.post_raw("/v1/models", b"", {}, method="GET")
        if reply.status != 200:
            raise_error(reply.status, reply.body, foreign=self._foreign)
        return decode_reply(reply.body, ModelList).data

    def only_model(self) -> str | None:
        """Return what the server calls its model, or nothing where it does not say.

        Raises:
            EngineAbsentError: it is somebody else's and does not let us in, or has no time.
            NotOfferedError: it has several, and so which one is meant must be told.
        """
        try:
            names = [entry.id for entry in self.models()]
        except (EngineFailedError, NotOfferedError):
            return None
        if len(names) > 1:
            what = f"the server has {len(names)} models, and it is not known which is meant"
            raise NotOfferedError(what)
        return names[0] if names else None

    def health(self) -> int:
        """Return the status code of ``GET /health``.

        Raises:
            EngineFailedError: the server cannot be reached.
        """
        return self.post_raw("/health", b"", {}, method="GET").status

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        stream: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Have raw text continued by ``/v1/completions``.

        Tokens are counted as the server counts them; llama.cpp's counts the end token too. The
        time to the first token is that of the first piece of text, and known of a stream only.

        Raises:
            PromptRefusedError: the server says that the prompt exceeds the context.
            EngineFailedError: it cannot be reached, answers another error, breaks off, or answers
                what cannot be understood or has no count of tokens.
        """
        return self._ask(
            "/v1/completions", {"prompt": prompt}, sampling, stream=stream, on_text=on_text
        )

    def chat(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        stream: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Have a conversation continued by ``/v1/chat/completions``.

        Raises:
            PromptRefusedError: as for :meth:`complete`.
            EngineFailedError: as for :meth:`complete`.
        """
        conversation = [{"role": each.role, "content": each.content} for each in messages]
        return self._ask(
            "/v1/chat/completions",
            {"messages": conversation},
            sampling,
            stream=stream,
            on_text=on_text,
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

    def _ask(
        self,
        path: str,
        asked: dict[str, Any],
        sampling: Sampling,
        *,
        stream: bool,
        on_text: Callable[[str], None] | None,
    ) -> Answer:
        request = {
            **self._settings,
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
                raise_error(exchange.status, exchange.read(), foreign=self._foreign)
            collected = Collected(started, on_text, foreign=self._foreign)
            for data in exchange.events() if stream else (exchange.read(),):
                collected.take(decode_reply(data, Reply))
            return collected.answer(streamed=stream)

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> "_Exchange":
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        deadline = time.monotonic() + self._timeout_s
        names = {name.lower() for name in headers}
        try:
            connection.putrequest(method, self._path + path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if self._api_key:
                connection.putheader("Authorization", f"Bearer {self._api_key}")
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
            raise_failed("the reply broke off before its end")
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
                raise_failed("the stream broke off before its end")
            name, _, value = line.rstrip(b"\r\n").partition(b":")
            if name != b"data":
                # An empty line ends an event, an empty name is a comment; other fields say nothing.
                if name not in {b"", b"event", b"id", b"retry"}:
                    raise_failed(f"the stream has a line that is none of an event: {line[:80]!r}")
                continue
            if value.strip() == b"[DONE]":
                return
            yield value

    def _count(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise_failed(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
        if time.monotonic() > self._deadline:
            raise_failed("the reply did not end in time")


def _check_foreign(base_url: str, scheme: str, host: str, api_key: str) -> None:
    what = hint = ""
    if scheme not in {"http", "https"} or not host:
        what, hint = "is no address of a server", "give one such as https://models.example.org"
    elif api_key and scheme != "https":
        what, hint = "would be sent its key in plain sight", "a key needs https"
    if what:
        raise InputError(Problem(what=f"{base_url!r} {what}", hint=hint))


def _raise_broken(error: Exception) -> NoReturn:
    reason = "no answer in time" if isinstance(error, TimeoutError) else repr(error)
    what = f"the exchange with the server failed: {reason}"
    raise EngineFailedError(what) from error
