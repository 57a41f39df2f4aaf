"""A model behind somebody else's OpenAI-compatible server, and its answers."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineFailedError,
    Message,
    NotOfferedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.execution.engines.openai_errors import ServerBusyError
from aprqa_ci.execution.engines.server_process import ServerEndedError, ServerProcess, last_words

__all__ = ["OpenAISession"]

_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0)
"""How long to wait before each further try when the server has no time."""


class OpenAISession:
    """Asks a server; opened by the engine of that name.

    Answers are streamed, for only a stream shows the first token. What the server cannot be asked
    for is said (:class:`NotOfferedError`) and never made up: a conversation is not rendered here,
    for the model's template is where the model is.
    """

    def __init__(
        self,
        *,
        served: ServedModel,
        device: Device,
        context_length: int,
        invocation: str,
        timeout_s: float,
        process: ServerProcess | None,
    ) -> None:
        self._served = served
        self._device = device
        self._context_length = context_length
        self._invocation = invocation
        self._process = process
        self._closed = False
        self._client = OpenAIClient(
            served.base_url,
            timeout_s,
            model=served.model,
            api_key=served.api_key,
            foreign=True,
            settings=served.settings,
        )

    @property
    def device(self) -> Device:
        """Where it computes, as far as that is shown."""
        return self._device

    @property
    def context_length(self) -> int:
        """The most tokens of prompt and answer together; 0 where the server does not say."""
        return self._context_length

    @property
    def invocation(self) -> str:
        """The server's command or address, and what it calls the model."""
        return self._invocation

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Continue raw text by ``/v1/completions``.

        Tokens are counted as the server counts them, which may include the end token.

        Raises:
            PromptRefusedError: the server says that the prompt does not fit.
            EngineFailedError: it fails, or answers what cannot be understood.
            EngineAbsentError: it has no time, or does not let us in.
            NotOfferedError: it has no such route.
        """
        return self._patiently(
            lambda: self._client.complete(prompt, sampling, stream=True, on_text=on_text)
        )

    def converse(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer the last message by ``/v1/chat/completions``.

        Raises:
            Exception: as :meth:`complete`.
        """
        return self._patiently(
            lambda: self._client.chat(messages, sampling, stream=True, on_text=on_text)
        )

    def render(self, messages: Sequence[Message]) -> NoReturn:
        """Refuse: the template is where the model is.

        Raises:
            NotOfferedError: always.
        """
        what = f"a server does not hand out the text of its template ({len(messages)} messages)"
        raise NotOfferedError(what)

    @contextmanager
    def serve(self) -> Iterator[ServedModel]:
        """Hand out the server as it is: it serves already."""
        self._require_running()
        yield self._served

    def close(self) -> None:
        """End the server if it was started for this session; safe to call twice."""
        self._closed = True
        if self._process is not None:
            self._process.stop()

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again, a few times, while the server has no time."""
        self._require_running()
        for wait in _WAITS_S:
            try:
                return ask()
            except ServerBusyError:
                time.sleep(wait)
        return ask()

    def _require_running(self) -> None:
        if self._closed:
            what = "the session is closed"
            raise EngineFailedError(what)
        if self._process is None:
            return
        try:
            self._process.require_running()
        except ServerEndedError as error:
            what = f"{error}: {last_words(error.log)}"
            raise EngineFailedError(what) from error
