import json

import pytest

from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    NotOfferedError,
    PromptRefusedError,
)
from aprqa_ci.execution.engines.openai_errors import ServerBusyError, raise_error

VLLM = "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens"
SGLANG = "The input (3000 tokens) is longer than the model's context length (2048 tokens)."
TGI = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000"


def body(message: str, kind: str = "BadRequestError", code: object = 400) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()


# Written from memory of what these servers send: none was asked, and no source was looked up.
@pytest.mark.parametrize(
    ("status", "reply", "foreign", "ours"),
    [
        (400, body(VLLM), PromptRefusedError, EngineFailedError),
        (400, body(SGLANG), PromptRefusedError, EngineFailedError),
        (422, json.dumps({"error": TGI}).encode(), PromptRefusedError, EngineFailedError),
        (400, body("x", code="context_length_exceeded"), PromptRefusedError, PromptRefusedError),
        (400, body("x", "exceed_context_size_error"), PromptRefusedError, PromptRefusedError),
        (413, b"", PromptRefusedError, PromptRefusedError),
        (400, body("temperature must be a number"), EngineFailedError, EngineFailedError),
        (401, body("Unauthorized"), EngineAbsentError, EngineFailedError),
        (403, b"forbidden", EngineAbsentError, EngineFailedError),
        (404, b"<html>", NotOfferedError, EngineFailedError),
        (405, b"", NotOfferedError, EngineFailedError),
        (429, body("slow down"), ServerBusyError, EngineFailedError),
        (502, b"bad gateway", ServerBusyError, EngineFailedError),
        (503, b"", ServerBusyError, EngineFailedError),
        (504, b"", ServerBusyError, EngineFailedError),
        (500, body(VLLM), EngineFailedError, EngineFailedError),
        (500, b"\xff\xfe", EngineFailedError, EngineFailedError),
        (418, b"[" * 100_000, EngineFailedError, EngineFailedError),
    ],
)
def test_what_a_status_means(
    status: int, reply: bytes, foreign: type[Exception], ours: type[Exception]
) -> None:
    for wanted, is_foreign in ((foreign, True), (ours, False)):
        with pytest.raises(wanted) as caught:
            raise_error(status, reply, foreign=is_foreign)
        assert type(caught.value) is wanted


def test_a_refused_key_says_where_keys_are_named() -> None:
    with pytest.raises(EngineAbsentError, match="option api_key_env"):
        raise_error(401, b"", foreign=True)
