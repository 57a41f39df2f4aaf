"""An OpenAI-compatible HTTP server on loopback, for sessions without a server of their own.

One request computes at a time and the others wait: a session is one stream of computation. Every
fault of a client gets a 4xx reply with a JSON body, every failure of the engine a 500, and the
server goes on.
"""

import contextlib
import logging
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NoReturn

import msgspec

from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    PromptRefusedError,
    ServedModel,
    Session,
)
from aprqa_ci.execution.engines.openai_wire import (
    ROUTES,
    CompletionReply,
    RefusedError,
    decode_request,
    error_body,
)

__all__ = ["MAX_BODY_BYTES", "serve_session"]

MAX_BODY_BYTES: Final = 1 << 20
"""The largest request that is read."""

_DISCARD_BYTES = 16 << 20
"""How much of a too large request is read past, so that its client gets to read the refusal."""
_READ_TIMEOUT_S = 30.0
_BACKLOG = 64
_QUESTIONS = ("/health", "/v1/models")

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def serve_session(session: Session, *, model_name: str = "model") -> Iterator[ServedModel]:
    """Serve a session on a free port of 127.0.0.1 until the context is left.

    Routes: ``GET /health``, ``GET /v1/models``, ``POST /v1/completions`` and
    ``POST /v1/chat/completions``, the last two also as streams of server-sent events. Settings that
    a request leaves out are those of :class:`Sampling`.

    While it is served, the session must not be used otherwise. When the context is left, the answer
    that is being computed is broken off, and no other begins.

    Args:
        session: the loaded model.
        model_name: what replies call it.
    """
    with _Server(session, model_name) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield ServedModel(base_url=f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.ending.set()
            server.shutdown()
            thread.join()
            with server.turn:
                # The session is not in use any more, and stays so.
                pass


class _ClientGoneError(Exception):
    """The client closed the connection; there is nobody to reply to."""


class _Server(ThreadingHTTPServer):
    """Holds what the handlers of all requests share."""

    daemon_threads = True
    request_queue_size = _BACKLOG

    def __init__(self, session: Session, model_name: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.session = session
        self.model_name = model_name
        self.turn = threading.Lock()
        self.ending = threading.Event()
        self._ids = iter(range(1, 1 << 62))

    def server_bind(self) -> None:
        # The class between would look up the host's name, which may ask the network.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as declared
        del request, client_address
        _log.warning("a request could not be answered", exc_info=True)

    def head(self) -> dict[str, Any]:
        """Return the fields that every reply begins with."""
        return {
            "id": f"cmpl-{next(self._ids)}",
            "created": int(time.time()),
            "model": self.model_name,
        }

    def check_ending(self, _: str = "") -> None:
        """Refuse to go on when the server is ending."""
        if self.ending.is_set():
            what = "the server is ending"
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, what, "server_error")


class _Handler(BaseHTTPRequestHandler):
    """Answers one request and closes the connection."""

    server: _Server
    server_version = "aprqa"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    # Of a request line too garbled to have one: with 0.9, the refusal would have no status.
    default_request_version = "HTTP/1.1"
    timeout = _READ_TIMEOUT_S
    _status_sent = False

    def do_GET(self) -> None:
        """Answer the two questions about the server itself."""
        with self._errors_answered():
            match self._route():
                case "/health":
                    self._reply(HTTPStatus.OK, {"status": "ok"})
                case "/v1/models":
                    model = {"id": self.server.model_name, "object": "model", "owned_by": "aprqa"}
                    self._reply(HTTPStatus.OK, {"object": "list", "data": [model]})
                case _:
                    self._refuse_route()

    def do_POST(self) -> None:
        """Answer a request to the model."""
        with self._errors_answered():
            route = self._route()
            if route not in ROUTES:
                self._refuse_route()
            request = decode_request(route, self._body())
            shape = request.reply_kind(self.server.head())
            events = _EventStream(self, shape) if request.stream else None
            session = self.server.session
            with self.server.turn:
                self.server.check_ending()
                answer = session.complete(
                    request.text(session),
                    request.sampling,
                    on_text=events.piece if events else self.server.check_ending,
                )
            if events is None:
                self._reply(HTTPStatus.OK, shape.whole(answer))
            else:
                events.end(answer, with_usage=request.with_usage)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the base class refuses: requests that are not HTTP, and other methods."""
        del explain
        status = HTTPStatus(code)
        if status is HTTPStatus.NOT_IMPLEMENTED:
            status = HTTPStatus.METHOD_NOT_ALLOWED
        with self._errors_answered():
            raise RefusedError(status, message or status.phrase)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as declared
        """Say nothing: what was asked and answered stands in the evidence."""

    def start_reply(self, status: HTTPStatus, content_type: str, length: int | None) -> None:
        """Send the head of the reply."""
        self._status_sent = True
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self._to_client(self.end_headers)

    def write(self, data: bytes) -> None:
        """Send a part of the reply.

        Raises:
            _ClientGoneError: the client has closed the connection.
        """
        self._to_client(lambda: self.wfile.write(data))

    @contextlib.contextmanager
    def _errors_answered(self) -> Iterator[None]:
        """Turn every exception into a reply."""
        self.close_connection = True
        refusal: RefusedError
        try:
            try:
                yield
            except _ClientGoneError:
                raise
            except RefusedError as error:
                refusal = error
            except PromptRefusedError as error:
                # The type that llama.cpp's server has for it, so that one client reads both.
                kind = "exceed_context_size_error"
                refusal = RefusedError(HTTPStatus.BAD_REQUEST, str(error), kind)
            except EngineFailedError as error:
                refusal = _engine_failed(str(error))
            except Exception:  # noqa: BLE001 - an engine may raise anything, and the server goes on
                _log.warning("the engine raised an unexpected error", exc_info=True)
                refusal = _engine_failed("the engine failed unexpectedly")
            else:
                return
            self._reply_refusal(refusal)
        except _ClientGoneError as error:
            _log.info("a client went away: %s", error)

    def _route(self) -> str:
        return self.path.partition("?")[0]

    def _refuse_route(self) -> NoReturn:
        route = self._route()
        if route in ROUTES or route in _QUESTIONS:
            what = f"{route} takes {'POST' if route in ROUTES else 'GET'}"
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, what)
        what = f"there is nothing here; the paths are {', '.join((*_QUESTIONS, *ROUTES))}"
        raise RefusedError(HTTPStatus.NOT_FOUND, what, "not_found_error")

    def _body(self) -> bytes:
        """Read the request's body, within its bounds."""
        declared = self.headers.get("Content-Length")
        if declared is None:
            what = "the request has no Content-Length"
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, what)
        if not (declared.isascii() and declared.isdecimal() and len(declared) < 19):
            what = "Content-Length is not a number"
            raise RefusedError(HTTPStatus.BAD_REQUEST, what)
        length = int(declared)
        try:
            if length > MAX_BODY_BYTES:
                self._discard(length)
                what = f"the request is larger than {MAX_BODY_BYTES} bytes"
                raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what)
            body = self.rfile.read(length)
        except TimeoutError as error:
            what = "the request did not arrive in time"
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, what) from error
        except OSError as error:
            raise _ClientGoneError(str(error)) from error
        if len(body) < length:
            what = f"the request ended after {len(body)} of {length} bytes"
            raise RefusedError(HTTPStatus.BAD_REQUEST, what)
        return body

    def _discard(self, length: int) -> None:
        left = min(length, _DISCARD_BYTES)
        while left > 0 and (read := self.rfile.read(min(left, 1 << 16))):
            left -= len(read)

    def _reply(self, status: HTTPStatus, value: object) -> None:
        body = msgspec.json.encode(value)
        self.start_reply(status, "application/json", len(body))
        if self.command != "HEAD":
            self.write(body)

    def _reply_refusal(self, refusal: RefusedError) -> None:
        if self._status_sent:
            # A stream has begun: it ends with the error, and without [DONE].
            self.write(_event(error_body(refusal)))
        else:
            self._reply(refusal.status, error_body(refusal))

    @staticmethod
    def _to_client(send: Callable[[], object]) -> None:
        try:
            send()
        except OSError as error:
            raise _ClientGoneError(str(error)) from error


class _EventStream:
    """Sends an answer as server-sent events, the head not before there is something to say.

    Until then a refusal can still have a status of its own.
    """

    def __init__(self, handler: _Handler, shape: CompletionReply) -> None:
        self._handler = handler
        self._shape = shape
        self._begun = False

    def piece(self, text: str) -> None:
        """Send a piece of the answer."""
        self._handler.server.check_ending()
        self._send(self._shape.piece(text, None))

    def end(self, answer: Answer, *, with_usage: bool) -> None:
        """Send the end of the answer."""
        self._send(self._shape.piece("", answer.finish))
        if with_usage:
            self._send(self._shape.usage(answer))
        self._handler.write(b"data: [DONE]\n\n")

    def _send(self, value: dict[str, Any]) -> None:
        if not self._begun:
            self._begun = True
            self._handler.start_reply(HTTPStatus.OK, "text/event-stream", None)
        self._handler.write(_event(value))


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def _engine_failed(message: str) -> RefusedError:
    return RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, message, "server_error")
