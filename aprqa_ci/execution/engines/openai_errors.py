"""What the error replies of OpenAI-compatible servers mean, and whose fault each is.

Servers agree on little: llama.cpp and OpenAI name a type or a code for a prompt that is too long,
vLLM and SGLang say it in words under status 400, TGI under 422 with ``error`` as plain text. Only
llama.cpp's was seen; the others are written from memory.
"""

import re
from http import HTTPStatus
from typing import Any, Final, NoReturn

import msgspec

from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    NotOfferedError,
    PromptRefusedError,
)

__all__ = ["BUSY", "ServerBusyError", "raise_error"]

BUSY: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""What somebody else's server answers when it, or what stands before it, has no time."""

_REFUSALS = frozenset({"exceed_context_size_error", "context_length_exceeded"})
_TOO_LONG = re.compile(
    r"context (length|size|window)|longer than the model|max_?(new|model|total|seq)_|too long",
    re.IGNORECASE,
)
_MESSAGE_CHARS = 500


class ServerBusyError(EngineAbsentError):
    """Somebody else's server has no time just now."""


class _ErrorBody(msgspec.Struct):
    message: str = ""
    type: str | None = None
    code: str | int | None = None


class _ErrorReply(msgspec.Struct):
    error: _ErrorBody | str


def raise_error(status: int, body: bytes, *, foreign: bool) -> NoReturn:
    """Raise what an error reply means.

    Args:
        status: of the reply.
        body: of the reply.
        foreign: whether the server is somebody else's, rather than a part of the engine on trial:
            then its lack of time, of a route or of trust in us says nothing of the model.

    Raises:
        PromptRefusedError: the prompt is longer than what it takes.
        NotOfferedError: a foreign server has no such route or model.
        EngineAbsentError: a foreign server does not let us in, or has no time.
        EngineFailedError: any other error.
    """
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        # A prompt longer than any body that the server takes is refused in good order (RFC 9110).
        what = f"the server answered {status}: the prompt is larger than what it takes"
        raise PromptRefusedError(what)
    error = _read(body)
    what = f"the server answered {status}: {error.message[:_MESSAGE_CHARS]}"
    if {error.type, str(error.code)} & _REFUSALS:
        raise PromptRefusedError(error.message)
    if foreign:
        if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY} and _TOO_LONG.search(
            error.message
        ):
            raise PromptRefusedError(what)
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            raise NotOfferedError(what)
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            what += " (name the environment variable with its key: option api_key_env)"
            raise EngineAbsentError(what)
        if status in BUSY:
            raise ServerBusyError(what)
    raise EngineFailedError(what)


def _read(body: bytes) -> _ErrorBody:
    shown = body[:_MESSAGE_CHARS].decode("utf-8", errors="replace")
    try:
        found: Any = msgspec.json.decode(body, type=_ErrorReply).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _ErrorBody(message=shown)
    return found if isinstance(found, _ErrorBody) else _ErrorBody(message=str(found))
