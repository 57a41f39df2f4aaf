"""One way of asking GitHub's REST API, and what is done when it does not answer as it should.

PyGithub carries the requests: authentication, TLS, connections. Its objects and its retries are not
used (``docs/design/github.md`` has the measurements): the objects ask when an attribute is read, so
that an error would come up anywhere, and the retries send a POST again whose answer was lost, which
makes a second comment. Here every request is made at once, every wait is bounded, and what may be
sent again is decided by whoever knows how to find out what became of it.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import requests
from github import Auth, Github

from aprqa_ci.errors import DeliveryError
from aprqa_ci.github.refusals import (
    Answer,
    Need,
    RefusedError,
    explained,
    graphql_refusal,
    limit_of,
    loss,
    never_sent,
    said_by,
)
from aprqa_ci.plain_text import one_line

__all__ = ["Patience", "Rest"]

AnswerT = TypeVar("AnswerT")

_PAGE = 100
_MAX_PAGES = 100
_MAX_ERROR_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a request is made, and how long is waited in between."""

    attempts: int = 5
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled each time."""
    longest_wait: float = 120.0
    """The most seconds of one wait; a limit that ends later is not waited for."""
    minute: float = 60.0
    """What GitHub asks of those who hit its secondary limit without being told how long."""


@dataclass(frozen=True, kw_only=True)
class _Trouble:
    """A request that may be worth another attempt."""

    what: str
    wait: float | None
    """The seconds that GitHub asks to wait; absent: a moment."""
    sent: bool
    """Whether the request may have been carried out."""


class Rest:
    """Requests to one GitHub with one token."""

    def __init__(
        self,
        *,
        token: str,
        api_url: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
        patience: Patience,
        timeout: float,
        pace: float,
    ) -> None:
        """Connect; nothing is asked yet.

        Args:
            token: of an app, of a job or of a person.
            api_url: for example ``https://api.github.com``.
            clock: gives the time in seconds since 1970, which limits are told in.
            sleep: waits so many seconds.
            patience: how often and how long.
            timeout: seconds without an answer before a request counts as lost.
            pace: seconds between two writes; GitHub asks for one.
        """
        self._token = token
        self._clock, self._sleep, self._patience = clock, sleep, patience
        self._timeout = timeout
        self._pace = pace
        self._last_write = -math.inf
        self._requester = Github(
            base_url=api_url,
            auth=Auth.Token(token),
            timeout=math.ceil(timeout),
            retry=None,
            seconds_between_requests=None,
            seconds_between_writes=None,
        ).requester

    def get(self, path: str, kind: type[AnswerT], need: Need, **query: str | int) -> AnswerT:
        """Read something.

        Raises:
            RefusedError: there is no such thing, or it may not be read.
            DeliveryError: there was no answer, or not one of the expected form.
        """
        return _decoded(self._asked("GET", path, need, query=query), kind, need)

    def pages(
        self, path: str, kind: type[AnswerT], need: Need, *, inside: str = "", **query: str | int
    ) -> Iterator[AnswerT]:
        """Read a list, page after page, to its end.

        Args:
            path: of the list.
            kind: what an entry is.
            need: what it is for.
            inside: the name of the list where it comes inside an object.
            query: parameters.

        Raises:
            RefusedError: there is no such list, or it may not be read.
            DeliveryError: there was no answer, not one of the expected form, or no end of pages.
        """
        for number in range(1, _MAX_PAGES + 1):
            asked = {**query, "per_page": _PAGE, "page": number}
            answer = self._asked("GET", path, need, query=asked)
            if inside:
                entries = _decoded(answer, dict[str, Any], need).get(inside)
            else:
                entries = _decoded(answer, list[Any], need)
            page = _converted(entries, list[kind], need)  # type: ignore[valid-type] # made here
            yield from page
            if 'rel="next"' not in answer.headers.get("link", ""):
                return
        what = f"GitHub lists more than {_MAX_PAGES * _PAGE} entries; could not {need.what}"
        raise DeliveryError(what)

    def change(
        self, method: str, path: str, body: Mapping[str, Any], kind: type[AnswerT], need: Need
    ) -> AnswerT:
        """Write something that may be written twice without harm: PATCH, PUT, and objects of git.

        Raises:
            RefusedError: it may not be written.
            DeliveryError: there was no answer, or not one of the expected form.
        """
        return _decoded(self._asked(method, path, need, body=body), kind, need)

    def remove(self, path: str, need: Need) -> None:
        """Delete something; that it is gone already is no error.

        Raises:
            DeliveryError: it may not be deleted, or there was no answer.
        """
        try:
            self._asked("DELETE", path, need)
        except RefusedError as refusal:
            if refusal.status != 404:
                raise

    def create(
        self,
        path: str,
        body: Mapping[str, Any],
        kind: type[AnswerT],
        need: Need,
        *,
        find: Callable[[], AnswerT | None],
    ) -> AnswerT:
        """Make something that must not be made twice.

        Args:
            path: where.
            body: what.
            kind: what the answer is.
            need: what it is for.
            find: looks for the thing; asked before another attempt when the answer to one was
                lost, since it may have been made.

        Raises:
            RefusedError: it may not be made.
            DeliveryError: there was no answer, or not one of the expected form.
        """
        made: list[AnswerT] = []

        def was_made() -> bool:
            found = find()
            made.extend([] if found is None else [found])
            return found is not None

        answer = self._asked("POST", path, need, body=body, done=was_made)
        return made[0] if answer is None else _decoded(answer, kind, need)

    def mutate(
        self,
        document: str,
        variables: Mapping[str, Any],
        kind: type[AnswerT],
        need: Need,
        *,
        done: Callable[[], bool],
    ) -> AnswerT | None:
        """Change something that only GraphQL can.

        Args:
            document: the mutation.
            variables: of it.
            kind: what the whole answer is.
            need: what it is for.
            done: whether it is as it should be; asked before another attempt when the answer to one
                was lost.

        Returns:
            The answer; nothing when it was lost and ``done`` said that it has come about.

        Raises:
            RefusedError: it may not be changed; the status is that which REST has for the same.
            DeliveryError: there was no answer, or not one of the expected form.
        """
        body = {"query": document, "variables": dict(variables)}
        answer = self._asked("POST", self._requester.graphql_url, need, body=body, done=done)
        return None if answer is None else _decoded(answer, kind, need)

    def download(self, url: str, limit: int, need: Need) -> bytes:
        """Fetch a file that GitHub keeps on another host, which must not see the token.

        Raises:
            RefusedError: it is gone (410) or may not be read.
            DeliveryError: there was no answer, or it is larger than ``limit`` bytes.
        """
        data: bytes = self._persistently("GET", need, lambda: self._fetched(url, limit, need), None)
        return data

    def _fetched(self, url: str, limit: int, need: Need) -> bytes | _Trouble:
        # PyGithub cannot follow this redirect; requests drops the token when the host changes.
        headers = {"Authorization": f"Bearer {self._token}"}
        with requests.get(url, headers=headers, timeout=self._timeout, stream=True) as response:
            answer = Answer(
                status=response.status_code,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=b"" if response.ok else response.raw.read(_MAX_ERROR_BYTES),
            )
            if trouble := self._judged(answer, need):
                return trouble
            data = bytearray()
            for chunk in response.iter_content(1 << 16):
                data += chunk
                if len(data) > limit:
                    what = f"the file has more than {limit} bytes; could not {need.what}"
                    raise DeliveryError(what)
        return bytes(data)

    def _asked(
        self,
        method: str,
        path: str,
        need: Need,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        done: Callable[[], bool] | None = None,
    ) -> Any:  # noqa: ANN401 - an answer; or nothing when `done` says that there is no need for one
        def once() -> Answer | _Trouble:
            if method != "GET":
                self._keep_pace()
            status, headers, text = self._requester.requestJson(
                method, path, dict(query or {}), None, None if body is None else dict(body)
            )
            answer = Answer(status=status, headers=headers, body=text.encode())
            if path == self._requester.graphql_url and status < 300:
                answer = graphql_refusal(answer) or answer
            return self._judged(answer, need) or answer

        return self._persistently(method, need, once, done)

    def _persistently(
        self,
        method: str,
        need: Need,
        once: Callable[[], Answer | bytes | _Trouble],
        done: Callable[[], bool] | None,
    ) -> Any:  # noqa: ANN401 - see _asked
        wait = self._patience.first_wait
        attempt = 0
        while True:
            attempt += 1
            try:
                result = once()
            except requests.exceptions.RequestException as error:
                result = _Trouble(what=loss(error), wait=None, sent=not never_sent(error))
            except (RuntimeError, ValueError) as error:
                # PyGithub's: a redirect to another host, headers that it cannot read
                what = f"could not {need.what}: {one_line(str(error))}"
                raise DeliveryError(what) from error
            if not isinstance(result, _Trouble):
                return result
            pause = wait if result.wait is None else result.wait
            if attempt == self._patience.attempts or pause > self._patience.longest_wait:
                what = f"could not {need.what}: {result.what} ({method}, attempt {attempt})"
                raise DeliveryError(what)
            self._sleep(pause)
            wait = min(wait * 2, self._patience.longest_wait)
            if result.sent and done is not None and done():
                return None

    def _judged(self, answer: Answer, need: Need) -> _Trouble | None:
        """Return what is to be tried again, or nothing when all is well.

        Raises:
            RefusedError: GitHub says no.
        """
        status = answer.status
        if status < 300:
            return None
        said = said_by(answer)
        wait = limit_of(answer, now=self._clock(), otherwise=self._patience.minute)
        if wait is not None:
            what = f"GitHub limits our requests ({status}: {said}), for {wait:.0f} s"
            return _Trouble(what=what, wait=wait, sent=False)
        if status >= 500:
            return _Trouble(what=f"GitHub failed ({status}: {said})", wait=None, sent=True)
        raise RefusedError(explained(answer, need), status=status, said=said)

    def _keep_pace(self) -> None:
        ahead = self._last_write + self._pace - self._clock()
        if ahead > 0:
            self._sleep(ahead)
        self._last_write = self._clock()


def _decoded(answer: Answer, kind: type[AnswerT], need: Need) -> AnswerT:
    try:
        return msgspec.json.decode(answer.body or b"null", type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _strange(need, error) from error


def _converted(value: object, kind: type[AnswerT], need: Need) -> AnswerT:
    try:
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as error:
        raise _strange(need, error) from error


def _strange(need: Need, error: Exception) -> DeliveryError:
    return DeliveryError(f"could not {need.what}: GitHub's answer has another form: {error}")
