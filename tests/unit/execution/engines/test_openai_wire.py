"""Decoding of requests."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.engines.interface import Sampling
from aprqa_ci.execution.engines.openai_wire import (
    ROUTES,
    ChatRequest,
    CompletionRequest,
    RefusedError,
    decode_request,
)

TEXT, CHAT = "/v1/completions", "/v1/chat/completions"


def encoded(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_every_setting_reaches_the_sampling() -> None:
    request = decode_request(
        TEXT,
        encoded(prompt="a", max_tokens=7, temperature=0.5, seed=-3, stop=["x", ""], unknown=1),
    )
    assert isinstance(request, CompletionRequest)
    assert request.sampling == Sampling(max_tokens=7, temperature=0.5, seed=-3, stop=("x",))


def test_what_is_left_out_is_the_default() -> None:
    request = decode_request(CHAT, encoded(messages=[{"role": "user", "content": "a"}]))
    assert isinstance(request, ChatRequest)
    assert request.sampling == Sampling()
    assert not request.stream
    assert not request.with_usage


def test_one_stop_text_may_stand_alone() -> None:
    assert decode_request(TEXT, encoded(prompt="", stop="\n")).sampling.stop == ("\n",)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}])
def test_usage_is_sent_only_where_it_is_asked_for(options: dict[str, bool] | None) -> None:
    assert not decode_request(TEXT, encoded(prompt="", stream_options=options)).with_usage
    asked = {"include_usage": True}
    assert decode_request(TEXT, encoded(prompt="", stream_options=asked)).with_usage


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"prompt": 5},
        {"prompt": ["a", "b"]},
        {"prompt": "a", "max_tokens": 0},
        {"prompt": "a", "max_tokens": -1},
        {"prompt": "a", "max_tokens": "5"},
        {"prompt": "a", "max_tokens": True},
        {"prompt": "a", "temperature": -0.1},
        {"prompt": "a", "temperature": "hot"},
        {"prompt": "a", "seed": 1.5},
        {"prompt": "a", "stop": 5},
        {"prompt": "a", "n": 2},
        {"prompt": "a", "stream": "yes"},
    ],
)
def test_a_setting_that_is_wrong_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as refused:
        decode_request(TEXT, encoded(**fields))
    assert refused.value.status is HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize(
    "messages",
    [None, "x", [], ["x"], [{}], [{"role": "robot", "content": "a"}], [{"role": "user"}]],
)
def test_a_conversation_that_is_wrong_is_refused(messages: object) -> None:
    with pytest.raises(RefusedError) as refused:
        decode_request(CHAT, encoded(messages=messages))
    assert refused.value.status is HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"x":' + b"[" * 100_000, b"NaN"])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        decode_request(TEXT, body)
    assert refused.value.status is HTTPStatus.BAD_REQUEST


@given(st.sampled_from(sorted(ROUTES)), st.binary())
def test_any_body_is_a_request_or_is_refused(route: str, body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        decode_request(route, body)
    assert 400 <= refused.value.status < 500
