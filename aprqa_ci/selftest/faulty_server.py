"""A server that breaks what a sound one says, byte by byte, as broken servers in the field do.

It stands between a client and the sound server: each connection is one request, whose whole reply
is broken on its way back.
"""

import contextlib
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from aprqa_ci.execution.engines.interface import ServedModel

__all__ = ["SERVER_FAULTS", "broken_server", "unreachable_server"]

_HEAD_END = b"\r\n\r\n"
_MAX_REQUEST = 4 << 20
_ASKING = b"/v1/"
_STATUS = re.compile(rb"^HTTP/1\.1 (\d{3}) ")


class _Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, fault: Callable[[bytes, bytes], bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port = port
        self.fault = fault


class _Connection(socketserver.BaseRequestHandler):
    server: _Relay

    def handle(self) -> None:
        """Pass one request on, and its broken reply back."""
        with contextlib.suppress(OSError):
            request = _request(self.request)
            reply = _exchange(self.server.port, request)
            self.request.sendall(self.server.fault(request, reply))


def _request(connection: socket.socket) -> bytes:
    """Read a request as far as its own head says that it goes."""
    data = b""
    while len(data) < _MAX_REQUEST:
        head, found, body = data.partition(_HEAD_END)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if found and len(body) >= int(length[1] if length else 0):
            break
        piece = connection.recv(1 << 16)
        if not piece:
            break
        data += piece
    return data


def _exchange(port: int, request: bytes) -> bytes:
    line, _, rest = request.partition(b"\r\n")
    with socket.create_connection(("127.0.0.1", port)) as upstream:
        upstream.sendall(line + b"\r\nConnection: close\r\n" + rest)
        pieces = []
        while piece := upstream.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


@contextlib.contextmanager
def broken_server(
    served: ServedModel, fault: Callable[[bytes, bytes], bytes]
) -> Iterator[ServedModel]:
    """Serve what another serves, broken."""
    port = int(served.base_url.rpartition(":")[2])
    with _Relay(port, fault) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield ServedModel(base_url=f"http://127.0.0.1:{relay.server_address[1]}")
        finally:
            relay.shutdown()
            thread.join()


@contextlib.contextmanager
def unreachable_server() -> Iterator[ServedModel]:
    """Name an address where nobody listens, as a server does that did not get its port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield ServedModel(base_url=f"http://127.0.0.1:{port}")


def _is_question(request: bytes) -> bool:
    return _ASKING in request.partition(b"\r\n")[0]


def _ok(reply: bytes) -> bool:
    found = _STATUS.match(reply)
    return found is not None and found[1] == b"200"


def _with_status(reply: bytes, status: int) -> bytes:
    return _STATUS.sub(b"HTTP/1.1 %d " % status, reply, count=1)


def _wrong_status(request: bytes, reply: bytes, *, status: int) -> bytes:
    return _with_status(reply, status) if _is_question(request) and _ok(reply) else reply


def _errors_as(request: bytes, reply: bytes, *, status: int) -> bytes:
    """Answer faults of the client with another status, for example 200 or 500."""
    del request
    return reply if _ok(reply) else _with_status(reply, status)


def _bad_health(request: bytes, reply: bytes, *, status: int) -> bytes:
    return _with_status(reply, status) if b"/health" in request.partition(b"\r\n")[0] else reply


def _bad_json(request: bytes, reply: bytes, *, drop: int) -> bytes:
    """Break the JSON of whole replies: its first ``drop`` characters become blanks."""
    head, found, body = reply.partition(_HEAD_END)
    if not (_is_question(request) and _ok(reply) and body.startswith(b"{")):
        return reply
    return head + found + b" " * drop + body[drop:]


def _bad_events(request: bytes, reply: bytes, *, old: str, new: str) -> bytes:
    """Break the server-sent events of streamed replies."""
    head, found, body = reply.partition(_HEAD_END)
    if not _is_question(request) or b"text/event-stream" not in head.lower():
        return reply
    return head + found + body.replace(old.encode(), new.encode())


def _no_usage(request: bytes, reply: bytes, *, name: str) -> bytes:
    """Leave the count of tokens out."""
    return reply.replace(b'"usage"', name.encode()) if _is_question(request) else reply


def _cut_reply(request: bytes, reply: bytes, *, share: float) -> bytes:
    if not (_is_question(request) and _ok(reply)):
        return reply
    return reply[: int(len(reply) * share)]


def _dies_of_bad_input(request: bytes, reply: bytes) -> bytes:
    if _is_question(request) and not _ok(reply):
        os.abort()
    return reply


class _MixedUp:
    """Gives clients that ask at the same time the answer of one of them."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._last = b""

    def __call__(self, request: bytes, reply: bytes, *, ms: float) -> bytes:
        if not (_is_question(request) and _ok(reply)):
            return reply
        if not self._turn.acquire(blocking=False):
            return self._last
        with contextlib.ExitStack() as stack:
            stack.callback(self._turn.release)
            self._last = reply
            # Long enough for the other clients to come in.
            time.sleep(ms / 1000)
            return reply


SERVER_FAULTS: Final[Mapping[str, Callable[..., bytes]]] = {
    "server-status": _wrong_status,
    "server-errors-as": _errors_as,
    "server-health": _bad_health,
    "server-json": _bad_json,
    "server-events": _bad_events,
    "server-usage": _no_usage,
    "server-cut": _cut_reply,
    "server-dies-of-bad-input": _dies_of_bad_input,
    "server-mixes-clients": _MixedUp(),
}
"""What becomes of a reply: the request and the reply as bytes; the rest are the parameters."""
