"""The HTTP server around sessions that say what the test wants."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest

from aprqa_ci.execution.engines import openai_server
from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.openai_server import MAX_BODY_BYTES, serve_session
from aprqa_ci.vocabulary import Backend

TALK = [Message(role="system", content="s"), Message(role="user", content="u")]


class EchoSession:
    """Answers with the prompt and its settings, or raises what it is given."""

    device = Device(backend=Backend.CPU, name="cpu", proof="")
    context_length = 64

    def __init__(self, error: Exception | None = None, *, after: int = 0) -> None:
        self.error = error
        self.after = after
        self.pieces = ["<", "", "ä", ">"]
        self.inside = threading.Lock()
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        assert self.inside.acquire(blocking=False), "two requests at once"
        try:
            pieces = [f"{prompt}|{sampling.max_tokens}|{sampling.seed}", *self.pieces]
            for number, piece in enumerate(pieces):
                if self.error is not None and number == self.after:
                    raise self.error
                if on_text is not None and piece:
                    on_text(piece)
                self.entered.set()
                assert self.go_on.wait(10)
        finally:
            self.inside.release()
        return Answer(
            text="".join(pieces),
            prompt_tokens=len(prompt),
            completion_tokens=5,
            finish="stop" if sampling.temperature == 0 else "length",
            time_to_first_token_ms=None,
            duration_ms=1,
        )

    def render(self, messages: Sequence[Message]) -> str:
        return "+".join(f"{each.role}:{each.content}" for each in messages)

    def serve(self) -> AbstractContextManager[ServedModel]:
        return serve_session(self)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def serving(session: EchoSession) -> Iterator[OpenAIClient]:
    with serve_session(session, model_name="tiny") as served:
        assert served.base_url.startswith("http://127.0.0.1:")
        yield OpenAIClient(served.base_url, 10)


def post(client: OpenAIClient, path: str, **fields: object) -> tuple[int, Any]:
    reply = client.post_raw(path, json.dumps(fields).encode(), {})
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("stream", [False, True])
def test_completions_and_chat(stream: bool) -> None:
    with serving(EchoSession()) as client:
        answer = client.complete("hi", Sampling(max_tokens=9, seed=4), stream=stream)
        assert (answer.text, answer.prompt_tokens) == ("hi|9|4<ä>", 2)
        assert (answer.completion_tokens, answer.finish) == (5, "stop")
        chat = client.chat(TALK, Sampling(temperature=1), stream=stream)
        assert (chat.text, chat.finish) == ("system:s+user:u|32|0<ä>", "length")


def test_the_forms_of_replies() -> None:
    with serving(EchoSession()) as client:
        _, reply = post(client, "/v1/completions", prompt="x")
        assert reply["object"] == "text_completion"
        assert reply["model"] == "tiny"
        assert reply["usage"] == {"prompt_tokens": 1, "completion_tokens": 5, "total_tokens": 6}
        message = {"role": "user", "content": "u"}
        _, chat = post(client, "/v1/chat/completions", messages=[message])
        assert chat["object"] == "chat.completion"
        assert chat["choices"][0]["message"] == {"role": "assistant", "content": "user:u|32|0<ä>"}
        assert chat["id"] != reply["id"]
        assert client.health() == 200
        models = json.loads(client.post_raw("/v1/models", b"", {}, method="GET").body)
        assert [model["id"] for model in models["data"]] == ["tiny"]


def test_a_stream_is_made_of_events_while_the_answer_is_made() -> None:
    with serving(EchoSession()) as client:
        body = json.dumps({"prompt": "x", "stream": True}).encode()
        events = client.post_raw("/v1/completions", body, {}).body.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        decoded = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
        pieces = [event["choices"][0]["text"] for event in decoded]
        assert pieces == ["x|32|0", "<", "ä", ">", ""]
        assert [event["choices"][0]["finish_reason"] for event in decoded][-2:] == [None, "stop"]
        assert not any("usage" in event for event in decoded)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [0, 2])
def test_a_failing_engine_is_an_error_reply_and_the_server_goes_on(
    stream: bool, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    session = EchoSession(EngineFailedError("numbers ran out"), after=after)
    with serving(session) as client:
        with pytest.raises(EngineFailedError, match="numbers ran out"):
            client.complete("x", Sampling(), stream=stream)
        session.error = ZeroDivisionError("secret inside")
        with pytest.raises(EngineFailedError, match="failed unexpectedly") as failed:
            client.complete("x", Sampling(), stream=stream)
        assert "secret" not in str(failed.value)
        assert "secret inside" in caplog.text
        session.error = OSError("not the client's")
        with pytest.raises(EngineFailedError, match="failed unexpectedly"):
            client.complete("x", Sampling(), stream=stream)
        session.error = None
        assert client.complete("x", Sampling(), stream=stream).finish == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_a_refused_prompt_is_a_400(stream: bool) -> None:
    with serving(EchoSession(PromptRefusedError("300 tokens are too many"))) as client:
        with pytest.raises(PromptRefusedError, match="300 tokens are too many"):
            client.complete("x", Sampling(), stream=stream)
        status, reply = post(client, "/v1/completions", prompt="x", stream=stream)
        assert status == 400
        assert reply["error"]["type"] == "exceed_context_size_error"


REFUSALS: dict[str, tuple[str, str, bytes, dict[str, str], int]] = {
    "unknown path": ("POST", "/v1/nothing", b"{}", {}, 404),
    "unknown question": ("GET", "/", b"", {}, 404),
    "wrong method": ("GET", "/v1/completions", b"", {}, 405),
    "wrong method for health": ("POST", "/health", b"{}", {}, 405),
    "other method": ("DELETE", "/v1/completions", b"", {}, 405),
    "no length": ("POST", "/v1/completions", b"", {"Transfer-Encoding": "chunked"}, 411),
    "negative length": ("POST", "/v1/completions", b"", {"Content-Length": "-5"}, 400),
    "huge length": ("POST", "/v1/completions", b"", {"Content-Length": "9" * 30}, 400),
    "length in other digits": ("POST", "/v1/completions", b"", {"Content-Length": "²"}, 400),
    "too large": ("POST", "/v1/completions", bytes(MAX_BODY_BYTES + 1), {}, 413),
    "not json": ("POST", "/v1/completions", b"{", {}, 400),
    "wrong type": ("POST", "/v1/completions", b'{"prompt": 5}', {}, 422),
    "no conversation": ("POST", "/v1/chat/completions", b'{"messages": []}', {}, 422),
}


@pytest.mark.parametrize("case", REFUSALS.values(), ids=REFUSALS)
def test_a_wrong_request_is_refused_and_the_server_goes_on(
    case: tuple[str, str, bytes, dict[str, str], int],
) -> None:
    method, path, body, headers, expected = case
    with serving(EchoSession()) as client:
        reply = client.post_raw(path, body, headers, method=method)
        assert reply.status == expected
        error = json.loads(reply.body)["error"]
        assert error["message"]
        assert error["type"] in {"invalid_request_error", "not_found_error"}
        assert client.health() == 200


def exchange(client: OpenAIClient, data: bytes, *, close_first: bool = False) -> bytes:
    with socket.create_connection((client._host, client._port), timeout=10) as connection:
        connection.sendall(data)
        if close_first:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(4096), b""))


def test_what_is_not_http_is_refused_with_a_status() -> None:
    with serving(EchoSession()) as client:
        assert exchange(client, b"HELLO\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert exchange(client, b"GET / HTTP/9.9\r\n\r\n").startswith(b"HTTP/1.1 505")
        head = exchange(client, b"HEAD /health HTTP/1.1\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405")
        assert head.endswith(b"\r\n\r\n")
        assert client.health() == 200


def test_a_client_can_send_all_of_a_too_large_request_and_read_the_refusal() -> None:
    length = 8 * MAX_BODY_BYTES
    head = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % length
    with serving(EchoSession()) as client:
        assert exchange(client, head + bytes(length)).startswith(b"HTTP/1.1 413")


def test_a_request_that_stops_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    start = b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99\r\n\r\n{"
    with serving(EchoSession()) as client:
        reply = exchange(client, start, close_first=True)
        assert reply.startswith(b"HTTP/1.1 400")
        assert b"1 of 99 bytes" in reply
        monkeypatch.setattr(openai_server._Handler, "timeout", 0.05)
        assert exchange(client, start).startswith(b"HTTP/1.1 408")
        assert exchange(client, b"") == b""
        assert client.health() == 200


def test_requests_wait_for_each_other() -> None:
    with serving(EchoSession()) as client:
        answers: list[str] = []

        def ask(number: int) -> None:
            answers.append(client.complete(f"q{number}", Sampling(), stream=number % 2 == 0).text)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [f"q{number}|32|0<ä>" for number in range(8)]


def test_a_client_that_goes_away_ends_its_answer_only() -> None:
    session = EchoSession()
    session.pieces = ["x" * 100_000] * 1000
    body = b'{"prompt": "x", "stream": true}'
    head = b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)
    with serving(session) as client:
        with socket.create_connection((client._host, client._port), timeout=10) as connection:
            connection.sendall(head + body)
            assert connection.recv(100)
        session.pieces = []
        assert client.complete("x", Sampling()).text == "x|32|0"


def test_health_is_answered_while_an_answer_is_made() -> None:
    session = EchoSession()
    session.go_on.clear()
    with serving(session) as client:
        asking = threading.Thread(target=client.complete, args=("x", Sampling()))
        asking.start()
        assert session.entered.wait(10)
        assert client.health() == 200
        session.go_on.set()
        asking.join()


def test_leaving_breaks_the_answer_off(monkeypatch: pytest.MonkeyPatch) -> None:
    session = EchoSession()
    session.go_on.clear()
    failures: list[str] = []

    def ask(client: OpenAIClient) -> None:
        try:
            client.complete("x", Sampling())
        except EngineFailedError as error:
            failures.append(str(error))

    def shut_down(server: openai_server._Server) -> None:
        session.go_on.set()
        real(server)

    real = openai_server._Server.shutdown
    monkeypatch.setattr(openai_server._Server, "shutdown", shut_down)
    with serving(session) as client:
        asking = threading.Thread(target=ask, args=(client,))
        asking.start()
        assert session.entered.wait(10)
    assert not session.inside.locked()
    asking.join()
    assert len(failures) == 1
    assert "503" in failures[0]
    with pytest.raises(EngineFailedError):
        client.health()


def test_an_ending_server_begins_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def head(server: openai_server._Server) -> dict[str, Any]:
        server.ending.set()
        return real(server)

    real = openai_server._Server.head
    monkeypatch.setattr(openai_server._Server, "head", head)
    session = EchoSession()
    with serving(session) as client:
        with pytest.raises(EngineFailedError, match="503: the server is ending"):
            client.complete("x", Sampling())
        assert not session.entered.is_set()
