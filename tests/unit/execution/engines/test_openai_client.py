"""The client against servers that answer wrongly, slowly or not at all."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines import openai_client
from aprqa_ci.execution.engines.interface import (
    EngineFailedError,
    Message,
    NotOfferedError,
    PromptRefusedError,
    Sampling,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient

USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
TALK = [Message(role="user", content="hi")]


class Scripted:
    """A server that sends these bytes to each connection and keeps what it was sent."""

    def __init__(self, reply: bytes, *, hang: bool = False) -> None:
        self.reply = reply
        self.hang = hang
        self.received = b""
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.release = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                with connection, connection.makefile("rb") as stream:
                    self.received = self.request(stream)
                    connection.sendall(self.reply)
                    if self.hang:
                        self.release.wait(10)

    @staticmethod
    def request(stream: "socket.SocketIO | object") -> bytes:
        lines = iter(stream.readline, b"\r\n")  # type: ignore[union-attr]  # a file object
        head = b"".join(lines)
        sizes = [int(line[15:]) for line in head.split(b"\r\n") if line[:15] == b"Content-Length:"]
        return head + b"\r\n" + bytes(stream.read(sum(sizes)))  # type: ignore[union-attr]  # as above

    def close(self) -> None:
        self.release.set()
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


@contextlib.contextmanager
def scripted(reply: bytes, *, hang: bool = False, timeout_s: float = 5) -> Iterator[OpenAIClient]:
    server = Scripted(reply, hang=hang)
    try:
        yield OpenAIClient(server.url, timeout_s)
    finally:
        server.close()


def replied(body: bytes | object, status: int = 200) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data)


def events(*data: object, done: bool = True) -> bytes:
    lines = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in data)
    return b"HTTP/1.1 200 X\r\n\r\n" + lines + (b"data: [DONE]\n\n" if done else b"")


def text(piece: str, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"text": piece, "finish_reason": finish}]}


@pytest.mark.parametrize(
    "url",
    ["http://example.org", "http://10.0.0.1:80", "https://127.0.0.1:1", "127.0.0.1:80", "http://["],
)
def test_only_plain_http_on_loopback_is_spoken(url: str) -> None:
    with pytest.raises(InputError):
        OpenAIClient(url, 1)


def test_an_answer() -> None:
    reply = replied({**text("hello", "stop"), "usage": USAGE})
    with scripted(reply) as client:
        answer = client.complete("x", Sampling())
    assert (answer.text, answer.finish) == ("hello", "stop")
    assert (answer.prompt_tokens, answer.completion_tokens) == (3, 2)
    assert answer.time_to_first_token_ms is None
    assert answer.duration_ms > 0


def test_what_is_asked() -> None:
    server = Scripted(replied({**text("a", "length"), "usage": USAGE}))
    try:
        client = OpenAIClient(server.url + "/", 5)
        asked = Sampling(max_tokens=4, temperature=0.5, seed=6, stop=("s",))
        assert client.complete("what", asked).finish == "length"
    finally:
        server.close()
    head, _, body = server.received.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\n")
    sent = json.loads(body)
    assert {name: sent[name] for name in ("prompt", "max_tokens", "temperature", "seed")} == {
        "prompt": "what",
        "max_tokens": 4,
        "temperature": 0.5,
        "seed": 6,
    }
    assert sent["stop"] == ["s"]
    assert sent["stream"] is False


def test_a_streamed_answer() -> None:
    reply = events(
        {"choices": [{"delta": {"role": "assistant", "content": None}}]},
        {"choices": [{"delta": {"content": "he"}}]},
        {"choices": [{"delta": {"content": "llo"}}]},
        {"choices": [{"delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": USAGE},
    )
    with scripted(reply) as client:
        answer = client.chat(TALK, Sampling(), stream=True)
    assert (answer.text, answer.finish, answer.completion_tokens) == ("hello", "length", 2)
    assert answer.time_to_first_token_ms is not None
    assert answer.time_to_first_token_ms <= answer.duration_ms


def test_comments_and_other_fields_of_events_are_passed_over() -> None:
    end = {**text("a", "stop"), "usage": USAGE}
    reply = events(end).replace(b"data: {", b": ping\r\nevent: x\nid: 1\nretry: 5\ndata:{", 1)
    with scripted(reply) as client:
        assert client.complete("x", Sampling(), stream=True).text == "a"


BROKEN = {
    "no usage": replied(text("a", "stop")),
    "no finish": replied({**text("a"), "usage": USAGE}),
    "unknown finish": replied({**text("a", "tool_calls"), "usage": USAGE}),
    "no choices": replied({"choices": [], "usage": USAGE}),
    "choices of another type": replied({"choices": 5, "usage": USAGE}),
    "not json": replied(b"<html>"),
    "not text": replied(b'{"choices": [{"text": "\xff"}]}'),
    "deep": replied(b"[" * 100_000),
    "server error": replied({"error": {"message": "boom"}}, 500),
    "an error that is no error": replied(b"oops", 503),
    "not http": b"SSH-2.0-x\r\n",
    "nothing": b"",
    "short body": b"HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{}",
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_a_broken_reply_is_an_engine_failure(reply: bytes) -> None:
    with scripted(reply) as client, pytest.raises(EngineFailedError):
        client.complete("x", Sampling())


END = {**text("a", "stop"), "usage": USAGE}
BROKEN_STREAMS = {
    "no [DONE]": events(END, done=False),
    "cut": events(END)[:-4],
    "not an event": events(END).replace(b"data: [", b"datum ["),
    "not json": events(END).replace(b'{"choices"', b"{choices"),
    "error event": events(text("a"), {"error": {"message": "boom"}}),
    "no usage": events(text("a", "stop")),
    "no end": events({**text("a"), "usage": USAGE}),
    "bad chunk": b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("reply", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
def test_a_broken_stream_is_an_engine_failure(reply: bytes) -> None:
    with scripted(reply) as client, pytest.raises(EngineFailedError):
        client.complete("x", Sampling(), stream=True)


@pytest.mark.parametrize(
    "error",
    [
        {"type": "exceed_context_size_error", "message": "too long", "code": 400},
        {"code": "context_length_exceeded", "message": "too long"},
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_exceeds_the_context_is_refused(
    error: dict[str, object], stream: bool
) -> None:
    with (
        scripted(replied({"error": error}, 400)) as client,
        pytest.raises(PromptRefusedError, match="too long"),
    ):
        client.complete("x", Sampling(), stream=stream)


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_larger_than_the_server_takes_is_refused(stream: bool) -> None:
    with scripted(replied(b"no", 413)) as client, pytest.raises(PromptRefusedError, match="413"):
        client.complete("x", Sampling(), stream=stream)


def test_a_refusal_in_the_stream_counts_too() -> None:
    reply = events({"error": {"type": "exceed_context_size_error", "message": "too long"}})
    with scripted(reply) as client, pytest.raises(PromptRefusedError, match="too long"):
        client.complete("x", Sampling(), stream=True)


def test_other_refusals_are_engine_failures() -> None:
    reply = replied({"error": {"message": "bad", "type": "invalid_request_error"}}, 400)
    with scripted(reply) as client, pytest.raises(EngineFailedError, match="400: bad"):
        client.complete("x", Sampling())


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_is_bounded(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    monkeypatch.setattr(openai_client, "MAX_REPLY_BYTES", 1000)
    reply = (events if stream else replied)({**text("a" * 2000, "stop"), "usage": USAGE})
    with scripted(reply) as client, pytest.raises(EngineFailedError, match="longer than 1000"):
        client.complete("x", Sampling(), stream=stream)


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    with (
        scripted(b"", hang=True, timeout_s=0.1) as client,
        pytest.raises(EngineFailedError, match="in time"),
    ):
        client.health()


def test_a_reply_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 9.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    reply = events(text("a"), text("b"), text("c"))
    with scripted(reply) as client, pytest.raises(EngineFailedError, match="did not end in time"):
        client.complete("x", Sampling(), stream=True)


def test_a_server_that_is_gone_is_an_engine_failure() -> None:
    with scripted(b"") as client:
        pass
    with pytest.raises(EngineFailedError, match="Refused"):
        client.health()


def test_a_prompt_that_is_not_unicode_is_refused_before_it_is_sent() -> None:
    with scripted(b"") as client, pytest.raises(PromptRefusedError, match="not valid Unicode"):
        client.complete("\ud83d", Sampling())


def test_raw_bytes_and_headers_are_sent_as_they_are() -> None:
    server = Scripted(replied(b"whatever", 418))
    try:
        client = OpenAIClient(server.url, 5)
        reply = client.post_raw("/odd", b"\x00{", {"X-Odd": "1"}, method="PATCH")
        assert (reply.status, reply.body) == (418, b"whatever")
        head, _, body = server.received.partition(b"\r\n\r\n")
        assert head.startswith(b"PATCH /odd HTTP/1.1\r\n")
        assert b"X-Odd: 1" in head
        assert b"Content-Length: 2" in head
        assert body == b"\x00{"
        client.post_raw("/odd", b"", {"Transfer-Encoding": "chunked"})
        assert b"Content-Length" not in server.received
    finally:
        server.close()


def test_a_reply_before_the_whole_request_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: http.client.HTTPConnection, body: bytes) -> None:
        real(self, b"")
        raise BrokenPipeError(body)

    real = http.client.HTTPConnection.endheaders
    monkeypatch.setattr(http.client.HTTPConnection, "endheaders", broken)
    with scripted(replied(b"no", 413)) as client:
        assert client.post_raw("/", b"", {}).status == 413


def test_a_reply_that_breaks_off_is_an_engine_failure() -> None:
    reply = b"HTTP/1.1 200 X\r\nContent-Length: 50\r\n\r\n{}"
    with scripted(reply) as client, pytest.raises(EngineFailedError, match="broke off"):
        client.post_raw("/", b"", {})


def test_headers_that_cannot_be_sent_are_an_engine_failure() -> None:
    with scripted(b"") as client, pytest.raises(EngineFailedError):
        client.post_raw("/", b"", {"X": "a\nb"})


@pytest.mark.parametrize(
    ("reply", "name"),
    [
        (replied({"data": [{"id": "m-7"}]}), "m-7"),
        (replied({"data": []}), None),
        (replied(b"no such thing", 404), None),
        (replied(b"<html>"), None),
    ],
)
def test_what_a_server_calls_its_model(reply: bytes, name: str | None) -> None:
    with scripted(reply) as client:
        assert client.only_model() == name


def test_one_of_several_models_is_not_guessed() -> None:
    reply = replied({"data": [{"id": "a"}, {"id": "b"}]})
    with scripted(reply) as client, pytest.raises(NotOfferedError, match="has 2 models"):
        client.only_model()


@pytest.mark.parametrize("model", [None, "m-7"])
def test_the_model_is_named_in_every_request(model: str | None) -> None:
    server = Scripted(replied({**text("a", "stop"), "usage": USAGE}))
    try:
        OpenAIClient(server.url, 5, model=model).complete("what", Sampling())
    finally:
        server.close()
    assert json.loads(server.received.partition(b"\r\n\r\n")[2])["model"] == (model or "model")
