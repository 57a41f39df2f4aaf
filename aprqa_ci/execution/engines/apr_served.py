"""A model behind one server of the ``apr`` tool."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, Literal, NoReturn

from aprqa_ci.execution.engines.apr_answers import AprAnswer, AprAnswerError, parse_generated
from aprqa_ci.execution.engines.apr_cli import ending_of, quote
from aprqa_ci.execution.engines.apr_faults import raise_ending, raise_no_answer
from aprqa_ci.execution.engines.apr_session import AprSession, HeldModel
from aprqa_ci.execution.engines.chat_template import PLAIN_TEMPLATE
from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    Message,
    NotOfferedError,
    PromptRefusedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.engines.openai_client import HttpReply, OpenAIClient
from aprqa_ci.execution.engines.server_process import ServerEndedError, ServerProcess

__all__ = ["CHAT_ROUTE", "RAW_ROUTES", "AprServedSession", "AprTalkingSession", "routes_of"]

RAW_ROUTES: Final = ("/v1/completions", "/generate")
"""Where the tool's servers continue raw text, the first one that is there; it depends on the format
of the model."""
CHAT_ROUTE: Final = "/v1/chat/completions"

_REFUSALS = ("context_length_exceeded", "exceed_context_size_error")
_JSON = {"Content-Type": "application/json"}
_MAX_SAID = 500
_LAST_BREATH_S = 2.0


class AprServedSession(AprSession):
    """A model behind one ``apr serve``, asked for raw text that was rendered here."""

    def __init__(
        self,
        held: HeldModel,
        server: ServerProcess,
        base_url: str,
        routes: frozenset[str],
        model: str | None = None,
    ) -> None:
        """Take over a server that is ready.

        Args:
            held: what every session of the tool knows.
            server: the process, which is ended with the session.
            base_url: its address.
            routes: which of the routes that are known here it has.
            model: what it calls the model, where it says so.
        """
        super().__init__(held)
        self._model = model
        self._server = server
        self._base_url = base_url
        self._routes = routes
        # The limit of a scenario is its parent's affair.
        self._client = OpenAIClient(base_url, timeout_s=3600.0, model=model)

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Continue raw text.

        Temperature and seed are sent; whether this server heeds them, it does not say.

        Raises:
            NotOfferedError: the server continues no raw text for this format, or answers in a shape
                that is not known.
            PromptRefusedError: the prompt does not fit the context.
            EngineFailedError: the server says that it failed.
            MemoryError: there was not enough memory.
        """
        route = next((each for each in RAW_ROUTES if each in self._routes), None)
        if route is None:
            what = f"apr's server has none of {', '.join(RAW_ROUTES)} for this format"
            raise NotOfferedError(what)
        prompt_tokens = self.require_room(prompt)
        return self._ask(
            route, {"prompt": prompt}, prompt, sampling, prompt_tokens=prompt_tokens, told=on_text
        )

    def render(self, messages: Sequence[Message]) -> str:
        """Render a conversation with the model's template, or plainly if it has none.

        Raises:
            EngineFailedError: the model's template cannot be rendered.
        """
        return (self.held.model.template or PLAIN_TEMPLATE).render(messages)

    @contextlib.contextmanager
    def serve(self) -> Iterator[ServedModel]:
        """Give the address of the tool's own server.

        Raises:
            NotOfferedError: it does not speak as OpenAI's servers do.
        """
        greedy = Sampling(max_tokens=1)
        try:
            for stream in (False, True):
                self._client.chat([Message(role="user", content="Hello")], greedy, stream=stream)
                self._client.complete("Hello", greedy, stream=stream)
        except (EngineFailedError, PromptRefusedError) as error:
            self._require_server()
            what = f"apr's server does not answer as OpenAI's do: {error}"
            raise NotOfferedError(what) from error
        yield ServedModel(base_url=self._base_url, model=self._model)

    def close(self) -> None:
        """End the server with all that it has started; safe to call twice."""
        self._server.stop()
        super().close()

    def _ask(
        self,
        route: str,
        asked: Mapping[str, Any],
        prompt: str,
        sampling: Sampling,
        *,
        prompt_tokens: int,
        told: Callable[[str], None] | None,
    ) -> Answer:
        request = {
            **asked,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stream": False,
            "stop": list(sampling.stop),
        }
        if self._model is not None:
            request["model"] = self._model
        started = time.perf_counter()
        try:
            reply = self._client.post_raw(route, json.dumps(request).encode(), _JSON)
        except EngineFailedError:
            self._require_server()
            raise
        if reply.status != HTTPStatus.OK:
            _raise_refused(reply)
        found, counted, finish = _read_reply(reply, prompt)
        return self.answer(
            found,
            sampling,
            prompt_tokens=counted or prompt_tokens,
            started=started,
            on_text=told,
            finish=finish,
        )

    def _require_server(self) -> None:
        """Make sure that the server still runs, or pass its end on."""
        try:
            self._server.require_running(patience_s=_LAST_BREATH_S)
        except ServerEndedError as error:
            what = f"{error}: {quote(error.log)}"
            ending = ending_of(error.returncode, error.log)
            raise_ending(ending, error.returncode, what, loading=False, crash=self.held.crash)
            raise EngineFailedError(what) from error


class AprTalkingSession(AprServedSession):
    """The same, for a model whose template cannot be read here: the server renders it."""

    def converse(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer the last message, in the template that the server has.

        Raises:
            NotOfferedError: the server has no conversations, or answers in an unknown shape.
            PromptRefusedError: the conversation does not fit the context.
            EngineFailedError: the server says that it failed.
        """
        if CHAT_ROUTE not in self._routes:
            what = f"apr's server has no {CHAT_ROUTE} for this format"
            raise NotOfferedError(what)
        prompt = "\n".join(each.content for each in messages)
        prompt_tokens = self.require_room(prompt)
        conversation = [{"role": each.role, "content": each.content} for each in messages]
        return self._ask(
            CHAT_ROUTE,
            {"messages": conversation},
            prompt,
            sampling,
            prompt_tokens=prompt_tokens,
            told=on_text,
        )


def routes_of(client: OpenAIClient) -> frozenset[str]:
    """Return which of the routes a server has, for it differs from format to format."""
    there = set()
    for route in (*RAW_ROUTES, CHAT_ROUTE):
        status = client.post_raw(route, b"{}", _JSON).status
        if status not in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
            there.add(route)
    return frozenset(there)


def _read_reply(
    reply: HttpReply, prompt: str
) -> tuple[AprAnswer, int, Literal["stop", "length"] | None]:
    """Return the answer in a reply of either shape, the prompt's tokens and the finish, if said."""
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        found = None
    choices = found.get("choices") if isinstance(found, dict) else None
    try:
        if not isinstance(found, dict) or not isinstance(choices, list):
            return parse_generated(reply.body, prompt), 0, None
        return _read_choice(found, choices)
    except AprAnswerError as error:
        raise_no_answer(error, loading=False)


def _read_choice(
    found: Mapping[str, Any], choices: Sequence[Any]
) -> tuple[AprAnswer, int, Literal["stop", "length"] | None]:
    choice = choices[0] if choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if not isinstance(text, str):
        kind, what = "unknown", "the reply's first choice has no text"
        raise AprAnswerError(kind, what)
    usage = found.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    generated, prompted = counts.get("completion_tokens"), counts.get("prompt_tokens")
    # The tool's servers say "stop" of cut answers too; only "length" is believed.
    finish: Literal["length"] | None = "length" if choice.get("finish_reason") == "length" else None
    answer = AprAnswer(text=text, tokens=generated if isinstance(generated, int) else None)
    return answer, prompted if isinstance(prompted, int) else 0, finish


def _raise_refused(reply: HttpReply) -> NoReturn:
    said = reply.body.decode("utf-8", "replace")
    what = f"apr's server answered {reply.status}: {said[:_MAX_SAID]}"
    if reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or any(
        word in said for word in _REFUSALS
    ):
        raise PromptRefusedError(what)
    raise EngineFailedError(what)
