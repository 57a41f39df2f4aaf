"""How each modality asks a loaded model: run, chat and serve."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from aprqa_ci.execution.engines.interface import (
    Answer,
    ConversingSession,
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
    ServedModel,
    Session,
)
from aprqa_ci.execution.engines.openai_client import OpenAIClient
from aprqa_ci.vocabulary import Modality

__all__ = ["Asker", "ClientAnswers", "Question", "ServeAsker", "SessionAsker", "asker_for"]

_CLIENT_TIMEOUT_S = 3600.0
"""Longer than any scenario may last: the parent's limit is the one that counts."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question, as the plan has it."""

    turns: tuple[str, ...]
    system: str | None = None
    raw: bool = False
    sampling: Sampling
    number: int = 0
    on_text: Callable[[str], None] | None = None
    """Takes each piece of the last answer, of a session that is asked directly."""


@dataclass(frozen=True, kw_only=True)
class ClientAnswers:
    """What several clients at once got, and what one alone got before."""

    alone: tuple[str, ...]
    together: tuple[str, ...]
    failures: tuple[str, ...]


class Asker(Protocol):
    """Asks a loaded model in one modality."""

    def ask(self, question: Question) -> Answer:
        """Return the answer to the last turn; earlier turns are answered by the model as well."""
        ...


class SessionAsker:
    """Asks a session directly: ``run`` and ``chat``.

    Both send text that the model's own chat template made, unless the question is raw: engines' own
    chat handlers add system messages of theirs. A session that takes conversations alone is given
    them as they are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def ask(self, question: Question) -> Answer:
        """See :class:`Asker`."""
        if question.raw:
            return self._session.complete(
                question.turns[-1], question.sampling, on_text=question.on_text
            )
        messages = _opening(question)
        for turn in question.turns[:-1]:
            messages.append(Message(role="user", content=turn))
            said = self._answer(messages, question.sampling, None)
            messages.append(Message(role="assistant", content=said.text))
        messages.append(Message(role="user", content=question.turns[-1]))
        return self._answer(messages, question.sampling, question.on_text)

    def _answer(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        on_text: Callable[[str], None] | None,
    ) -> Answer:
        session = self._session
        if isinstance(session, ConversingSession):
            return session.converse(messages, sampling, on_text=on_text)
        return session.complete(session.render(messages), sampling, on_text=on_text)


class ServeAsker:
    """Asks over HTTP: chat and streamed chat in turn, raw questions through completions."""

    def __init__(self, client: OpenAIClient) -> None:
        self.client = client

    def ask(self, question: Question) -> Answer:
        """See :class:`Asker`."""
        stream = question.number % 2 == 1
        if question.raw:
            return self.client.complete(question.turns[-1], question.sampling, stream=stream)
        messages = _opening(question)
        for turn in question.turns[:-1]:
            messages.append(Message(role="user", content=turn))
            said = self.client.chat(messages, question.sampling, stream=stream)
            messages.append(Message(role="assistant", content=said.text))
        messages.append(Message(role="user", content=question.turns[-1]))
        return self.client.chat(messages, question.sampling, stream=stream)

    def ask_together(self, questions: Sequence[str], sampling: Sampling) -> ClientAnswers:
        """Ask each question alone, then all at once, each from a client of its own."""
        alone = tuple(self._text(text, sampling) for text in questions)
        failures: list[str] = []

        def one(text: str) -> str:
            try:
                return self._text(text, sampling)
            except (EngineFailedError, PromptRefusedError) as error:
                failures.append(str(error))
                return ""

        with ThreadPoolExecutor(max_workers=len(questions)) as pool:
            together = tuple(pool.map(one, questions))
        return ClientAnswers(alone=alone, together=together, failures=tuple(failures))

    def send_malformed(self) -> tuple[dict[str, int], bool]:
        """Send what no client should, and say whether a good request is answered afterwards."""
        chat, text = "/v1/chat/completions", "/v1/completions"
        json_type = {"Content-Type": "application/json"}
        cases = {
            "not json": (chat, b"{", json_type),
            "empty body": (chat, b"", json_type),
            "array": (chat, b"[1, 2]", json_type),
            "messages is a number": (chat, b'{"messages": 7}', json_type),
            "no messages": (chat, b"{}", json_type),
            "prompt is an object": (text, b'{"prompt": {"a": 1}, "max_tokens": 1}', json_type),
            "unknown path": ("/v1/nothing-here", b"{}", json_type),
        }
        statuses = {}
        for name, (path, body, headers) in cases.items():
            try:
                statuses[name] = self.client.post_raw(path, body, headers).status
            except EngineFailedError:
                statuses[name] = 0
        try:
            alive = self.client.health() == 200
        except EngineFailedError:
            alive = False
        return statuses, alive

    def _text(self, text: str, sampling: Sampling) -> str:
        return self.client.chat([Message(role="user", content=text)], sampling, stream=False).text


def asker_for(session: Session, modality: Modality, stack: ExitStack) -> Asker:
    """Return what asks the session in that modality; a server lives as long as ``stack``."""
    if modality is not Modality.SERVE:
        return SessionAsker(session)
    served = stack.enter_context(session.serve())
    model = served.model or _client(served, None).only_model()
    return ServeAsker(_client(served, model))


def _client(served: ServedModel, model: str | None) -> OpenAIClient:
    return OpenAIClient(
        served.base_url,
        timeout_s=_CLIENT_TIMEOUT_S,
        model=model,
        api_key=served.api_key,
        foreign=served.foreign,
        settings=served.settings,
    )


def _opening(question: Question) -> list[Message]:
    if question.system is None:
        return []
    return [Message(role="system", content=question.system)]
