"""A model that llama.cpp has loaded, and its answers."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final, Protocol

import msgspec

from aprqa_ci.execution.engines.chat_template import PLAIN_TEMPLATE, ChatTemplate
from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineFailedError,
    Message,
    ModelLoadError,
    PromptRefusedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient

__all__ = ["SERVE_SLOTS", "LlamaCppSession", "StartServer"]

SERVE_SLOTS: Final = 4
"""How many requests are computed side by side while the model is served."""

_HEALTHY_WITHIN_S = 30.0
_REST_POLL_S = 0.01
_IN_WORK = re.compile(r"^llamacpp:requests_(?:processing|deferred) (\d+)", re.MULTILINE)
_RANDOM_SEED = 0xFFFFFFFF
"""The seed that the library takes as a wish for a random one."""


class StartServer(Protocol):
    """Loads the model and starts its server."""

    def __call__(self, *, slots: int, template: ChatTemplate) -> Any:  # noqa: ANN401 - no types
        """Start it for so many requests side by side, with this template for conversations."""
        ...


class LlamaCppSession:
    """A model that llama.cpp has loaded; opened by the engine of that name."""

    def __init__(
        self,
        *,
        start: StartServer,
        server: Any,  # noqa: ANN401 - the library has no types
        device: Device,
        context_length: int,
        template: ChatTemplate,
        bos: str,
        first_token: int | None,
    ) -> None:
        self._start = start
        self._server = server
        self._device = device
        self._context_length = context_length
        self._template = template
        self._bos = bos
        self._first_token = first_token
        self._closed = False

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._device

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together, of each request."""
        return self._context_length

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Continue raw text; control tokens written in it count as such.

        An empty prompt is the token for a beginning alone, or the one for an end when the model has
        none, as the reference engine has it: the library itself would answer nothing.

        The time to the first token is measured here, from the call to the library's first report.

        Raises:
            PromptRefusedError: the prompt does not fit the context, is not valid Unicode, or is
                empty and the model has no token to begin with.
            EngineFailedError: the library reported another error or broke off.
            ValueError: ``max_tokens`` is below 1; to the library it would mean no limit.
        """
        if sampling.max_tokens < 1:
            what = f"max_tokens is {sampling.max_tokens}; it must be 1 or more"
            raise ValueError(what)
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            what = f"the prompt is not valid Unicode: {error.reason}"
            raise PromptRefusedError(what) from error
        if self._bos and prompt.startswith(self._bos) and self._adds_bos:
            prompt = prompt.removeprefix(self._bos)
        stream = _AnswerStream(on_text)
        try:
            self._running().handle_completions(self._request(prompt, sampling), stream)
        except RuntimeError as error:
            what = f"llama.cpp failed: {error}"
            raise EngineFailedError(what) from error
        return stream.answer()

    def render(self, messages: Sequence[Message]) -> str:
        """Render a conversation with the file's own template.

        Raises:
            EngineFailedError: the template cannot be rendered.
        """
        return self._template.render(messages)

    @contextlib.contextmanager
    def serve(self) -> Iterator[ServedModel]:
        """Serve the model with llama.cpp's own HTTP server until the context is left.

        Leaving waits for the requests that are still in work.

        The model is opened once more, for several requests side by side, each with the whole
        context; the file is still in the page cache, and it is never held twice.

        Raises:
            EngineFailedError: the server cannot be started (llama.cpp may not understand the
                model's chat template) or does not become healthy.
            MemoryError: there is not enough memory for the contexts.
        """
        self._running()
        self._release()
        try:
            self._server = self._start(slots=SERVE_SLOTS, template=self._template)
        except ModelLoadError as error:
            # It has been loaded before: the fault lies in serving it.
            what = f"llama.cpp cannot serve the model: {error}"
            raise EngineFailedError(what) from error
        try:
            address = self._server.listening_address
            _await_health(address)
            yield ServedModel(base_url=address)
        finally:
            self._release()

    def close(self) -> None:
        """Free the model and end its HTTP server; safe to call twice."""
        self._closed = True
        self._release()

    def _release(self) -> None:
        """Free the library's object: that ends its server."""
        if self._server is not None:
            _await_rest(self._server)
        self._server = None

    def _request(self, prompt: str, sampling: Sampling) -> dict[str, Any]:
        return {
            "prompt": [self._first_token]
            if not prompt and self._first_token is not None
            else prompt,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed % _RANDOM_SEED,
            "stop": list(sampling.stop),
            "cache_prompt": False,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Says, besides, whether an end token ended the answer.
            "verbose": True,
        }

    def _running(self) -> Any:  # noqa: ANN401 - the library has no types
        if self._closed:
            what = "the session is closed"
            raise EngineFailedError(what)
        if self._server is None:
            # The library refuses to load a model for a template that it cannot parse. Only what it
            # serves needs the model's own: here, conversations are rendered in this process.
            self._server = self._start(slots=1, template=PLAIN_TEMPLATE)
        return self._server

    @cached_property
    def _adds_bos(self) -> bool:
        """Whether the library puts the token for a beginning before every text."""
        body = msgspec.json.encode({"content": "", "add_special": True})
        client = OpenAIClient(self._running().listening_address, timeout_s=_HEALTHY_WITHIN_S)
        reply = client.post_raw("/tokenize", body, {"Content-Type": "application/json"})
        try:
            return bool(msgspec.json.decode(reply.body)["tokens"])
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            what = f"llama.cpp does not tokenize: status {reply.status}"
            raise EngineFailedError(what) from error


class _AnswerStream:
    """Receives what the library reports of one answer, and measures when."""

    def __init__(self, on_text: Callable[[str], None] | None) -> None:
        self._on_text = on_text
        self._pieces: list[str] = []
        self._started = time.perf_counter()
        self._first_ms: float | None = None
        self._last: dict[str, Any] | None = None
        self._error: dict[str, Any] | None = None
        self._raised: BaseException | None = None

    def __call__(self, report: dict[str, Any]) -> bool:
        """Take one report; return whether the answer is to be broken off."""
        if self._first_ms is None:
            self._first_ms = self._elapsed_ms()
        try:
            self._take(report)
        except BaseException as error:  # noqa: BLE001 - the library drops it; answer() raises it
            self._raised = error
            return True
        return False

    def answer(self) -> Answer:
        """Return the whole answer.

        Raises:
            PromptRefusedError: the library declined the prompt.
            EngineFailedError: it reported another error, or no end.
        """
        duration_ms = self._elapsed_ms()
        if self._raised is not None:
            raise self._raised
        if self._error is not None:
            what = str(self._error.get("message", self._error))
            if self._error.get("type") == "exceed_context_size_error":
                raise PromptRefusedError(what)
            what = f"llama.cpp reported an error: {what}"
            raise EngineFailedError(what)
        if self._last is None:
            what = "llama.cpp broke off before the end of the answer"
            raise EngineFailedError(what)
        usage = self._last["usage"]
        if not usage["prompt_tokens"]:
            what = "the prompt is empty, and this model has no token to begin with"
            raise PromptRefusedError(what)
        ended_itself = self._last["__verbose"]["stop_type"] == "eos"
        return Answer(
            text="".join(self._pieces),
            prompt_tokens=usage["prompt_tokens"],
            # The library counts the end token too.
            completion_tokens=usage["completion_tokens"] - ended_itself,
            finish="length" if self._last["choices"][0]["finish_reason"] == "length" else "stop",
            time_to_first_token_ms=self._first_ms,
            duration_ms=duration_ms,
        )

    def _take(self, report: dict[str, Any]) -> None:
        if "error" in report:
            self._error = report["error"]
            return
        choice = report["choices"][0]
        if choice["finish_reason"] is not None:
            self._last = report
        if choice["text"]:
            self._pieces.append(choice["text"])
            if self._on_text is not None:
                self._on_text(choice["text"])

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000


def _await_rest(server: Any) -> None:  # noqa: ANN401 - the library has no types
    """Wait until no request is in work.

    Freed with one, the library waits for ever, and holds Python's lock while it does.
    """
    quiet = 0
    # Twice, for a request that was sent just now may not be counted yet.
    while quiet < 2:
        busy = sum(int(count) for count in _IN_WORK.findall(server.handle_metrics()))
        quiet = 0 if busy else quiet + 1
        time.sleep(_REST_POLL_S)


def _await_health(address: str) -> None:
    """Wait until the server says that it can answer."""
    client = OpenAIClient(address, timeout_s=_HEALTHY_WITHIN_S)
    deadline = time.monotonic() + _HEALTHY_WITHIN_S
    while (status := client.health()) != 200:
        if time.monotonic() > deadline:
            what = f"llama.cpp's server is not healthy: /health answers {status}"
            raise EngineFailedError(what)
        time.sleep(0.02)
