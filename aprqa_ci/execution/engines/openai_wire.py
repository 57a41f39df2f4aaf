"""The OpenAI-compatible forms of requests, replies and errors, as the server has them."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec

from aprqa_ci.execution.engines.interface import Answer, Message, Sampling, Session

__all__ = [
    "INVALID_REQUEST",
    "ROUTES",
    "ChatReply",
    "ChatRequest",
    "CompletionReply",
    "CompletionRequest",
    "RefusedError",
    "decode_request",
    "error_body",
]

INVALID_REQUEST = "invalid_request_error"
"""The type of error for whatever the client has to change."""

_MAX_SEED = (1 << 63) - 1


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: HTTPStatus, message: str, kind: str = INVALID_REQUEST) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class CompletionReply:
    """The form of replies of ``/v1/completions``.

    Args:
        head: the fields that every reply and event begins with: ``id``, ``created``, ``model``.
    """

    kind = "text_completion"
    event_kind = "text_completion"

    def __init__(self, head: dict[str, Any]) -> None:
        self._head = head

    def whole(self, answer: Answer) -> dict[str, Any]:
        """Return the reply that holds all of the answer."""
        choice = {"index": 0, **self._whole_text(answer.text), "finish_reason": answer.finish}
        return {**self._head, "object": self.kind, "choices": [choice], "usage": _usage(answer)}

    def piece(self, text: str, finish: str | None) -> dict[str, Any]:
        """Return the event for a piece of the answer, or for its end."""
        choice = {"index": 0, **self._piece_text(text), "finish_reason": finish}
        return {**self._head, "object": self.event_kind, "choices": [choice]}

    def usage(self, answer: Answer) -> dict[str, Any]:
        """Return the event that counts the tokens."""
        return {**self._head, "object": self.event_kind, "choices": [], "usage": _usage(answer)}

    def _whole_text(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _piece_text(self, text: str) -> dict[str, Any]:
        return {"text": text}


class ChatReply(CompletionReply):
    """The form of replies of ``/v1/chat/completions``."""

    kind = "chat.completion"
    event_kind = "chat.completion.chunk"

    def _whole_text(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def _piece_text(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct, kw_only=True):
    """What both kinds of request have. Settings that are not named here are ignored."""

    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = Sampling().max_tokens
    temperature: Annotated[float, msgspec.Meta(ge=0, le=100)] = Sampling().temperature
    seed: Annotated[int, msgspec.Meta(ge=-_MAX_SEED, le=_MAX_SEED)] | None = None
    stop: str | Annotated[list[str], msgspec.Meta(max_length=16)] | None = None
    n: Literal[1] = 1
    stream: bool = False
    stream_options: _StreamOptions | None = None

    @property
    def sampling(self) -> Sampling:
        """The settings as a session takes them."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Sampling(
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=Sampling().seed if self.seed is None else self.seed,
            stop=tuple(text for text in stop if text),
        )

    @property
    def with_usage(self) -> bool:
        """Whether a stream is to end with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(_Request, kw_only=True):
    """A request to continue raw text."""

    reply_kind = CompletionReply
    prompt: str

    def text(self, session: Session) -> str:
        """Return the text that the session is to continue."""
        del session
        return self.prompt


class _Said(msgspec.Struct):
    role: Literal["system", "user", "assistant"]
    content: str


class ChatRequest(_Request, kw_only=True):
    """A request to continue a conversation."""

    reply_kind = ChatReply
    messages: Annotated[list[_Said], msgspec.Meta(min_length=1)]

    def text(self, session: Session) -> str:
        """Return the text that the session is to continue.

        Raises:
            EngineFailedError: the model's template cannot be rendered.
        """
        return session.render(
            [Message(role=each.role, content=each.content) for each in self.messages]
        )


ROUTES: dict[str, type[CompletionRequest] | type[ChatRequest]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
}
"""The paths that requests to the model are posted to."""


def decode_request(route: str, body: bytes) -> CompletionRequest | ChatRequest:
    """Decode and check a request.

    Raises:
        RefusedError: the body is not JSON (400) or not such a request (422).
    """
    try:
        return msgspec.json.decode(body, type=ROUTES[route])
    except msgspec.ValidationError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = f"the request is not valid JSON: {error}"
        raise RefusedError(HTTPStatus.BAD_REQUEST, what) from error


def error_body(error: RefusedError) -> dict[str, Any]:
    """Return the body of an error reply."""
    return {"error": {"message": str(error), "type": error.kind, "code": error.status.value}}


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
