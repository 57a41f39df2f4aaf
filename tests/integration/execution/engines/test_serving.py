"""One test for both servers: llama.cpp's own, and ours around a session."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from aprqa_ci.execution.engines.interface import (
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
    ServedModel,
    Session,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.openai_server import serve_session

TALK = [Message(role="user", content="What is 1 + 2?")]
SHORT = Sampling(max_tokens=6)


@dataclass(frozen=True, kw_only=True)
class Served:
    session: Session
    """What answers when nobody else asks it."""
    client: OpenAIClient
    url: str


@pytest.fixture(params=["llamacpp", "session"], scope="module")
def served(request: pytest.FixtureRequest, llamacpp: Session) -> Iterator[Served]:
    if request.param == "llamacpp":
        with llamacpp.serve() as found:
            client = OpenAIClient(found.base_url, 60)
            yield Served(session=llamacpp, client=client, url=found.base_url)
    else:
        with serve_session(llamacpp) as found:
            client = OpenAIClient(found.base_url, 60)
            yield Served(session=llamacpp, client=client, url=found.base_url)


def test_it_listens_on_loopback_alone(served: Served) -> None:
    assert served.url.startswith("http://127.0.0.1:")
    port = int(served.url.rpartition(":")[2])
    assert served.client.health() == 200
    # Another address of this machine, which a server bound to all of them would answer on.
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=5):  # noqa: PT011 - any
        pass


@pytest.mark.parametrize("stream", [False, True])
def test_completions_say_what_the_session_says(served: Served, stream: bool) -> None:
    alone = served.session.complete("the and", SHORT)
    answer = served.client.complete("the and", SHORT, stream=stream)
    assert answer.text == alone.text
    assert (answer.prompt_tokens, answer.finish) == (alone.prompt_tokens, alone.finish)
    assert alone.completion_tokens <= answer.completion_tokens <= alone.completion_tokens + 1
    assert (answer.time_to_first_token_ms is not None) == stream


@pytest.mark.parametrize("stream", [False, True])
def test_chat_says_what_the_session_says(served: Served, stream: bool) -> None:
    alone = served.session.complete(served.session.render(TALK), SHORT)
    answer = served.client.chat(TALK, SHORT, stream=stream)
    assert answer.text == alone.text
    assert answer.prompt_tokens == alone.prompt_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_settings_are_honoured(served: Served, stream: bool) -> None:
    client = served.client
    two = client.complete("the", Sampling(max_tokens=2), stream=stream)
    assert (two.completion_tokens, two.finish) == (2, "length")
    whole = client.complete("the", Sampling(max_tokens=12), stream=stream).text
    stop = whole[4:6]
    stopped = client.complete("the", Sampling(max_tokens=12, stop=(stop,)), stream=stream)
    assert (stopped.text, stopped.finish) == (whole[: whole.index(stop)], "stop")
    sampled = [
        client.complete("the", Sampling(max_tokens=9, temperature=5, seed=seed), stream=stream).text
        for seed in (1, 2, 3, 1, 2, 3)
    ]
    assert sampled[:3] == sampled[3:]
    assert len(set(sampled)) > 1


@pytest.mark.parametrize("stream", [False, True])
def test_an_over_long_prompt_is_refused_and_the_server_goes_on(
    served: Served, stream: bool
) -> None:
    with pytest.raises(PromptRefusedError, match="context size"):
        served.client.complete("7" * 128, SHORT, stream=stream)
    with pytest.raises(PromptRefusedError, match="context size"):
        served.client.chat([Message(role="user", content="7" * 128)], SHORT, stream=stream)
    assert served.client.complete("the", SHORT).text


def test_four_clients_at_once_get_what_one_alone_gets(served: Served) -> None:
    prompts = ["the", "and", "12 12", "x y z"]
    # The numbers of a batch differ in their last bits, and so an answer may, late.
    sampling = Sampling(max_tokens=3)
    alone = [served.client.complete(prompt, sampling).text for prompt in prompts]
    answers: dict[str, list[str]] = {prompt: [] for prompt in prompts}
    failures: list[BaseException] = []
    together = threading.Barrier(len(prompts))

    def ask(prompt: str) -> None:
        try:
            together.wait(30)
            for stream in (False, True):
                answers[prompt].append(served.client.complete(prompt, sampling, stream=stream).text)
        except (EngineFailedError, PromptRefusedError, threading.BrokenBarrierError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert answers == {prompt: [text] * 2 for prompt, text in zip(prompts, alone, strict=True)}


def test_each_of_several_clients_has_the_whole_context(served: Served) -> None:
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            served.client.complete("7" * 120, Sampling(max_tokens=5))
        except (EngineFailedError, PromptRefusedError) as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MALFORMED = {
    "not json": (CHAT, b"{"),
    "empty": (CHAT, b""),
    "array": (TEXT, b"[1, 2]"),
    "not utf-8": (TEXT, b'{"prompt": "\xff'),
    "deep": (TEXT, b"[" * 100_000),
    "no messages": (CHAT, b"{}"),
    "messages is text": (CHAT, b'{"messages": "x"}'),
    "a message is a number": (CHAT, b'{"messages": [5]}'),
    "no prompt": (TEXT, b"{}"),
    "prompt is a number": (TEXT, b'{"prompt": 5}'),
    "max_tokens is text": (TEXT, b'{"prompt": "a", "max_tokens": "x"}'),
    "unknown path": ("/v1/nothing", b"{}"),
    "wrong method": ("/health", b"{}"),
}


@pytest.mark.parametrize("case", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_request_is_refused_and_the_server_goes_on(
    served: Served, case: tuple[str, bytes]
) -> None:
    path, body = case
    reply = served.client.post_raw(path, body, {"Content-Type": "application/json"})
    assert 400 <= reply.status < 500
    assert json.loads(reply.body)["error"]["message"]
    assert b"Traceback" not in reply.body
    assert served.client.health() == 200
    assert served.client.complete("the", Sampling(max_tokens=2)).completion_tokens == 2


def test_a_client_that_goes_away_does_no_harm(served: Served) -> None:
    body = json.dumps({"prompt": "the", "max_tokens": 100, "stream": True}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    port = int(served.url.rpartition(":")[2])
    for sent in (b"", head, head + b"Content-Length: %d\r\n\r\n" % len(body) + body):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(sent)
    assert served.client.complete("the", SHORT).text


@pytest.mark.parametrize("serve", [lambda session: session.serve(), serve_session])
def test_the_server_ends_with_its_context(
    llamacpp: Session, serve: Callable[[Session], AbstractContextManager[ServedModel]]
) -> None:
    with serve(llamacpp) as found:
        client = OpenAIClient(found.base_url, 10)
        assert client.health() == 200
    with pytest.raises(EngineFailedError):
        client.health()
    assert llamacpp.complete("the", SHORT).text
