"""What GitHub says when it says no, and what a user is told of it.

That is: what was to be done, and which permission or setting would allow it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from aprqa_ci.github.refused import RefusedError
from aprqa_ci.plain_text import one_line, shorten

__all__ = [
    "Answer",
    "Need",
    "RefusedError",
    "explained",
    "graphql_refusal",
    "limit_of",
    "loss",
    "never_sent",
    "said_by",
]

_MAX_TEXT = 300
_ACTIONS_MAY_NOT = "not permitted to create or approve pull requests"
_SETTING = "Settings → Actions → General → Allow GitHub Actions to create and approve pull requests"
# GraphQL's types of errors, as the statuses that REST has for the same.
_GRAPHQL_STATUS = {
    "FORBIDDEN": 403,
    "INSUFFICIENT_SCOPES": 403,
    "NOT_FOUND": 404,
    "RATE_LIMITED": 429,
    "RATE_LIMIT": 429,
    "INTERNAL": 502,
    "SERVICE_UNAVAILABLE": 502,
}
_GRAPHQL_FAILED = "Something went wrong while executing your query"
_RATE_LIMIT = re.compile(r"rate limit|abuse detection", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a request is for and what it takes, for the message when GitHub refuses."""

    what: str
    """For example ``comment on pull request #7``."""
    permission: str
    """For example ``pull-requests: write``."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of GitHub's, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes


def limit_of(answer: Answer, *, now: float, otherwise: float) -> float | None:
    """Return how many seconds a limit asks to wait; nothing when the answer tells of none.

    Args:
        answer: an error answer.
        now: the time in seconds since 1970.
        otherwise: the seconds of a limit that does not say for how long.
    """
    if answer.status not in {403, 429}:
        return None
    headers = answer.headers
    if (after := headers.get("retry-after", "")).isdigit():
        return float(after)
    if headers.get("x-ratelimit-remaining") == "0":
        reset = headers.get("x-ratelimit-reset", "")
        # GitHub tells whole seconds, so the one in which it resets has to be over.
        return max(0.0, int(reset) - now) + 1 if reset.isdigit() else otherwise
    if answer.status == 429 or _RATE_LIMIT.search(said_by(answer)):
        return otherwise
    return None


def graphql_refusal(answer: Answer) -> Answer | None:
    """Return what a GraphQL answer would be in REST when it tells of errors, else nothing.

    GraphQL says no with status 200, so that nothing else would notice.
    """
    try:
        value = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    errors = value.get("errors") if isinstance(value, dict) else None
    if not isinstance(errors, list) or not errors:
        return None
    told = [error if isinstance(error, dict) else {"message": str(error)} for error in errors]
    texts = [str(error.get("message") or "no message") for error in told]
    statuses = [
        502
        if text.startswith(_GRAPHQL_FAILED)
        else _GRAPHQL_STATUS.get(str(error.get("type")), 422)
        for error, text in zip(told, texts, strict=True)
    ]
    # What may be asked again is, only when no other error stands against it.
    return Answer(
        status=min(statuses),
        headers=answer.headers,
        body=msgspec.json.encode({"message": "; ".join(texts)}),
    )


def said_by(answer: Answer) -> str:
    """Return the message of an error answer with its details, on one line."""
    try:
        value = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return "no message"
    if not isinstance(value, dict):
        return "no message"
    texts = [str(value.get("message") or "no message")]
    errors = value.get("errors")
    for error in errors if isinstance(errors, list) else ():
        if isinstance(error, dict):
            parts = (error.get(key) for key in ("resource", "field", "code", "message"))
            texts.append(" ".join(str(part) for part in parts if part))
        else:
            texts.append(str(error))
    return shorten(one_line("; ".join(texts)), _MAX_TEXT)


def explained(answer: Answer, need: Need) -> str:
    """Return what is told when an answer refuses what was needed."""
    said = said_by(answer)
    could_not = f"could not {need.what}"
    match answer.status:
        case 401:
            return f"{could_not}: GitHub does not accept the token; is it still valid? ({said})"
        case 403 if _ACTIONS_MAY_NOT in said:
            return (
                f"{could_not}: this repository forbids it. Allow it under {_SETTING}, or use the "
                "token of an app"
            )
        case 403:
            accepted = answer.headers.get("x-accepted-github-permissions", "")
            more = f"; GitHub accepts {one_line(accepted)}" if accepted else ""
            return (
                f"{could_not}: the token lacks a permission. Grant `{need.permission}` to the job "
                f"({said}{more})"
            )
        case 404:
            return (
                f"{could_not}: GitHub does not find it, or the token lacks `{need.permission}` "
                f"({said})"
            )
        case status if status < 400:
            return f"{could_not}: GitHub redirects ({status}); was the repository renamed?"
        case status:
            return f"{could_not}: GitHub refuses ({status}: {said})"


def loss(error: requests.exceptions.RequestException) -> str:
    """Return what is told of a request without an answer."""
    if isinstance(error, requests.exceptions.Timeout):
        return "GitHub did not answer in time"
    return f"GitHub cannot be reached ({type(error).__name__})"


def never_sent(error: requests.exceptions.RequestException) -> bool:
    """Whether no connection was made, so that GitHub cannot have seen the request."""
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(cause, ConnectTimeoutError | NewConnectionError)
