"""What the sessions of the ``apr`` engine have in common."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from aprqa_ci.execution.engines.apr_answers import AprAnswer
from aprqa_ci.execution.engines.apr_faults import EndAs, end_as
from aprqa_ci.execution.engines.apr_model import AprModel
from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineFailedError,
    NotOfferedError,
    PromptRefusedError,
    Sampling,
)

__all__ = ["AprSession", "HeldModel"]


@dataclass(frozen=True, kw_only=True)
class HeldModel:
    """What every session of the tool knows."""

    model: AprModel
    device: Device
    invocation: str
    crash: EndAs = end_as
    """What is done when the tool's process crashed."""
    cleanup: Callable[[], None] = lambda: None
    """Called when the session is closed."""


class AprSession:
    """What the sessions have in common."""

    def __init__(self, held: HeldModel) -> None:
        self.held = held
        self._closed = False

    @property
    def device(self) -> Device:
        """Where it computes, and whether that is shown."""
        return self.held.device

    @property
    def context_length(self) -> int:
        """The most tokens of prompt and answer, as the model's files say."""
        return self.held.model.context_length

    @property
    def invocation(self) -> str:
        """The commands that the tool is given, and what they leave out."""
        return self.held.invocation

    def close(self) -> None:
        """Free what the session holds; safe to call twice."""
        if not self._closed:
            self._closed = True
            self.held.cleanup()

    def require_room(self, prompt: str) -> int:
        """Return the tokens of a prompt, or 0 when they cannot be counted here.

        Raises:
            PromptRefusedError: they leave no room for an answer, or it is not valid Unicode.
        """
        if self._closed:
            what = "the session is closed"
            raise EngineFailedError(what)
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            what = f"the prompt is not valid Unicode: {error.reason}"
            raise PromptRefusedError(what) from error
        count = self.held.model.count_tokens
        tokens = 0 if count is None else count(prompt)
        if tokens >= self.context_length:
            what = f"the prompt has {tokens} tokens and the context {self.context_length}"
            raise PromptRefusedError(what)
        return tokens

    def answer(
        self,
        found: AprAnswer,
        sampling: Sampling,
        *,
        prompt_tokens: int,
        started: float,
        on_text: Callable[[str], None] | None,
        finish: Literal["stop", "length"] | None = None,
    ) -> Answer:
        """Put an answer together; a stop text that the tool does not know is cut off here."""
        duration_ms = (time.perf_counter() - started) * 1000
        text, stopped = _cut(found.text, sampling.stop)
        tokens = found.tokens
        if tokens is None or stopped:
            tokens = self._count(text)
        if finish is None or stopped:
            finish = "length" if tokens >= sampling.max_tokens and not stopped else "stop"
        if text and on_text is not None:
            on_text(text)
        return Answer(
            text=text,
            prompt_tokens=prompt_tokens,
            completion_tokens=tokens,
            finish=finish,
            time_to_first_token_ms=None,
            duration_ms=duration_ms,
        )

    def _count(self, text: str) -> int:
        count = self.held.model.count_tokens
        if count is not None:
            return count(text) if text else 0
        if not text:
            return 0
        what = (
            "apr did not count the answer's tokens, and the model's tokenizer cannot be read here"
        )
        raise NotOfferedError(what)


def _cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    places = [place for stop in stops if stop and (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)
