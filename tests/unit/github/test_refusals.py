import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError
from urllib3.util import Url

from aprqa_ci.github.refusals import Answer, limit_of, loss, never_sent, said_by


def answer(status: int = 403, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, body=body)


def spent(reset: str = "") -> Answer:
    return answer(x_ratelimit_remaining="0", x_ratelimit_reset=reset)


@pytest.mark.parametrize(
    ("given", "wait"),
    [
        (answer(), None),
        (answer(200, retry_after="5"), None),
        (answer(500, retry_after="5"), None),
        (answer(retry_after="5"), 5),
        (answer(429), 60),
        (answer(429, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), 60),
        (answer(body=b'{"message": "You have triggered an abuse detection mechanism"}'), 60),
        (
            answer(body=b'{"errors": ["x", {"code": "y"}], "message": "API rate limit exceeded"}'),
            60,
        ),
        (spent("130"), 31),
        (spent("90"), 1),
        (spent("soon"), 60),
        (spent(), 60),
        (answer(x_ratelimit_remaining="1", x_ratelimit_reset="130"), None),
    ],
)
def test_how_long_a_limit_asks_to_wait(given: Answer, wait: float | None) -> None:
    assert limit_of(given, now=100.0, otherwise=60.0) == wait


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"1", b"{}", b"[" * 9999])
def test_an_error_without_a_message(body: bytes) -> None:
    assert said_by(answer(body=body)) == "no message"


def test_what_github_says_is_bounded_and_on_one_line() -> None:
    text = said_by(answer(body=b'{"message": "a\\n\\u001b[31mb", "errors": "' + b"x" * 999 + b'"}'))
    assert text == "a b"
    assert len(said_by(answer(body=b'{"message": "' + b"x" * 9999 + b'"}'))) < 400


def test_whether_a_request_was_sent() -> None:
    refused = NewConnectionError(Url(), "refused")  # type: ignore[arg-type] # no connection to name
    wrapped = requests.exceptions.ConnectionError(MaxRetryError(None, "", refused))  # type: ignore[arg-type] # no pool either
    assert never_sent(wrapped)
    assert never_sent(requests.exceptions.ConnectTimeout())
    assert not never_sent(requests.exceptions.ReadTimeout())
    assert not never_sent(requests.exceptions.ConnectionError("reset"))
    assert loss(requests.exceptions.ReadTimeout()) == "GitHub did not answer in time"
