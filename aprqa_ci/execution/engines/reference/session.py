"""A loaded model that answers."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Literal

from aprqa_ci.execution.engines.answer_text import AnswerText
from aprqa_ci.execution.engines.chat_template import PLAIN_TEMPLATE
from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    Message,
    PromptRefusedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.execution.engines.reference.loading import LoadedModel
from aprqa_ci.execution.engines.reference.sampling import token_chooser

__all__ = ["ReferenceSession"]


class ReferenceSession:
    """Answers with a model in numpy. Every answer begins from nothing: no cache outlives it.

    Args:
        model: the loaded model.
        device: where numpy computes.
    """

    def __init__(self, model: LoadedModel, device: Device) -> None:
        self._model: LoadedModel | None = model
        self._device = device
        self._context_length = model.network.config.context_length

    @property
    def device(self) -> Device:
        """Where it computes."""
        return self._device

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together, as the model says."""
        return self._context_length

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Continue raw text; control tokens in it are recognised.

        The text begins with the model's beginning token where its tokenizer says so and the text
        does not have it already. An empty prompt is that token alone, or the end token for a model
        that has no beginning token: the network needs something to continue.

        Raises:
            PromptRefusedError: the prompt leaves no room in the context for one token of answer.
        """
        started = time.perf_counter()
        model = self._opened()
        tokens = self._prompt_tokens(model, prompt)
        room = self._context_length - len(tokens)
        if room < 1:
            what = (
                f"the prompt has {len(tokens)} tokens and the context {self._context_length};"
                " at least one is needed for the answer"
            )
            raise PromptRefusedError(what)
        choose = token_chooser(sampling)
        text = AnswerText(model.tokenizer.stream(), sampling.stop, on_text)
        finish: Literal["stop", "length"] = "length"
        first_token_ms: float | None = None
        count = 0
        pending = tokens
        model.network.reset()
        try:
            while count < min(sampling.max_tokens, room):
                token = choose(model.network.forward(pending))
                if first_token_ms is None:
                    first_token_ms = _milliseconds_since(started)
                ended = token in model.end_ids
                count += not ended
                if ended or text.add(token):
                    finish = "stop"
                    break
                pending = [token]
        finally:
            model.network.reset()
        return Answer(
            text=text.end(),
            prompt_tokens=len(tokens),
            completion_tokens=count,
            finish=finish,
            time_to_first_token_ms=first_token_ms,
            duration_ms=_milliseconds_since(started),
        )

    def render(self, messages: Sequence[Message]) -> str:
        """Render a conversation with the model's template, or plainly if it has none.

        Raises:
            EngineFailedError: the model's template cannot be rendered.
        """
        template = self._opened().template or PLAIN_TEMPLATE
        return template.render(messages)

    def serve(self) -> AbstractContextManager[ServedModel]:
        """Serve the model over HTTP until the context is left."""
        # Only a served model needs the HTTP server's import time.
        from aprqa_ci.execution.engines.openai_server import serve_session  # noqa: PLC0415 - above

        return serve_session(self)

    def close(self) -> None:
        """Free the model; safe to call twice."""
        self._model = None

    def _opened(self) -> LoadedModel:
        if self._model is None:
            what = "the session is closed"
            raise ValueError(what)
        return self._model

    @staticmethod
    def _prompt_tokens(model: LoadedModel, prompt: str) -> list[int]:
        tokenizer = model.tokenizer
        tokens = tokenizer.encode(prompt)
        begin, end = tokenizer.model.bos_id, tokenizer.model.eos_id
        if begin is not None and (not tokens or (tokenizer.model.add_bos and tokens[0] != begin)):
            return [begin, *tokens]
        return tokens or [end if end is not None else 0]


def _milliseconds_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
