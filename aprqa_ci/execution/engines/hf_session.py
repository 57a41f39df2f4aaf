"""A model that transformers has loaded, and its answers."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

from aprqa_ci.execution.engines.answer_text import AnswerText
from aprqa_ci.execution.engines.hf_loading import HfModel
from aprqa_ci.execution.engines.interface import (
    Answer,
    Device,
    EngineFailedError,
    Message,
    PromptRefusedError,
    Sampling,
    ServedModel,
)

__all__ = ["HfSession"]

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MAX_SAID = 2000


class HfSession:
    """Answers with ``generate`` of transformers. Every answer begins from nothing.

    Args:
        model: the loaded model.
        invocation: the call that loaded it.
    """

    def __init__(self, model: HfModel, invocation: str) -> None:
        self._model: HfModel | None = model
        self._device = model.device
        self._context_length = model.context_length
        self._invocation = invocation

    @property
    def device(self) -> Device:
        """Where it computes, as the tensors say."""
        return self._device

    @property
    def context_length(self) -> int:
        """The most tokens that prompt and answer may have together, as the model says."""
        return self._context_length

    @property
    def invocation(self) -> str:
        """The call that loaded the model, with the number type that its file has."""
        return self._invocation

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Continue raw text; control tokens in it are recognised.

        Beginning tokens and empty prompts are treated as the reference engine treats them.

        Raises:
            PromptRefusedError: the prompt leaves no room in the context for one token of answer, or
                is not valid Unicode.
            EngineFailedError: transformers or torch failed.
            MemoryError: there is not enough memory to answer.
            ValueError: ``max_tokens`` is below 1.
        """
        if sampling.max_tokens < 1:
            what = f"max_tokens is {sampling.max_tokens}; it must be 1 or more"
            raise ValueError(what)
        started = time.perf_counter()
        model = self._opened()
        tokens = _prompt_tokens(model.tokenizer, prompt)
        room = self._context_length - len(tokens)
        if room < 1:
            what = (
                f"the prompt has {len(tokens)} tokens and the context {self._context_length};"
                " at least one is needed for the answer"
            )
            raise PromptRefusedError(what)
        answer = _GrowingAnswer(
            AnswerText(_StreamDecoder(model.tokenizer), sampling.stop, on_text),
            frozenset(model.end_ids),
            len(tokens),
            started,
        )
        _generate(model, tokens, sampling, min(sampling.max_tokens, room), answer)
        text = answer.text.end()
        return Answer(
            text=text,
            prompt_tokens=len(tokens),
            completion_tokens=answer.count,
            finish=answer.finish,
            time_to_first_token_ms=answer.first_ms,
            duration_ms=(time.perf_counter() - started) * 1000,
        )

    def render(self, messages: Sequence[Message]) -> str:
        """Render a conversation with the model's template, or plainly if it has none.

        Raises:
            EngineFailedError: the model's template cannot be rendered.
        """
        return self._opened().template.render(messages)

    def serve(self) -> AbstractContextManager[ServedModel]:
        """Serve the model over HTTP until the context is left."""
        # Only a served model needs the HTTP server's import time.
        from aprqa_ci.execution.engines.openai_server import serve_session  # noqa: PLC0415 - above

        return serve_session(self)

    def close(self) -> None:
        """Free the model, on its device too; safe to call twice."""
        if self._model is not None and self._device.name != "cpu":
            torch = self._model.libraries.torch
            self._model = None
            torch.cuda.empty_cache()
        self._model = None

    def _opened(self) -> HfModel:
        if self._model is None:
            what = "the session is closed"
            raise EngineFailedError(what)
        return self._model


class _GrowingAnswer:
    """Follows ``generate`` token by token, as a stopping criterion of transformers.

    A streamer would be told of a token before or after the criteria are asked, depending on the
    version; the criteria alone both see every token and can end the answer with it.
    """

    def __init__(
        self, text: AnswerText, ends: frozenset[int], prompt_tokens: int, started: float
    ) -> None:
        self.text = text
        self.count = 0
        self.first_ms: float | None = None
        self.finish: Literal["stop", "length"] = "length"
        self.raised: BaseException | None = None
        self._ends = ends
        self._seen = prompt_tokens
        self._started = started

    def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ANN401 - tensors
        """Take the tokens that are new; returns whether the answer is over, for each sequence."""
        del scores
        if self.first_ms is None:
            self.first_ms = (time.perf_counter() - self._started) * 1000
        new = ids[0, self._seen :].tolist()
        self._seen += len(new)
        for token in new:
            self._take(token)
        return ids.new_full((ids.shape[0],), self.finish == "stop").bool()

    def _take(self, token: int) -> None:
        if token in self._ends:
            self.finish = "stop"
            return
        self.count += 1
        try:
            stopped = self.text.add(token)
        except BaseException as error:
            # So that a fault of the listener is told from one of the library.
            self.raised = error
            raise
        if stopped:
            self.finish = "stop"


class _StreamDecoder:
    """Turns tokens into text with the model's own tokenizer.

    What a token adds may depend on those before it, so it is the difference between two decodings
    of the last few tokens; half a character decodes to the replacement character, and waits.
    """

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - no types
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._from = 0
        self._told = 0

    def add(self, token: int) -> str:
        """Return the text that is whole with this token."""
        self._ids.append(token)
        text = self._pending()
        if text.endswith(_REPLACEMENT):
            return ""
        self._from, self._told = self._told, len(self._ids)
        return text

    def end(self) -> str:
        """Return what is left, half a character included."""
        text = self._pending()
        self._from = self._told = len(self._ids)
        return text

    def _pending(self) -> str:
        before = self._decode(self._ids[self._from : self._told])
        return self._decode(self._ids[self._from :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def _generate(
    model: HfModel, tokens: list[int], sampling: Sampling, limit: int, answer: _GrowingAnswer
) -> None:
    torch, transformers = model.libraries.torch, model.libraries.transformers
    settings: dict[str, Any] = {"do_sample": False}
    if sampling.temperature > 0:
        # Temperature alone decides: transformers would also cut rare tokens off.
        settings = {
            "do_sample": True,
            "temperature": sampling.temperature,
            "top_k": 0,
            "top_p": 1.0,
        }
        torch.manual_seed(sampling.seed & ((1 << 64) - 1))
    config = transformers.GenerationConfig(
        max_new_tokens=limit,
        eos_token_id=list(model.end_ids) or None,
        pad_token_id=model.end_ids[0] if model.end_ids else 0,
        **settings,
    )
    try:
        ids = torch.tensor([tokens], device=model.network.device)
        with torch.inference_mode():
            model.network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                stopping_criteria=transformers.StoppingCriteriaList([answer]),
            )
    except MemoryError:
        raise
    except Exception as error:
        if error is answer.raised:
            raise
        said = (str(error) or repr(error))[:_MAX_SAID]
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in said:
            raise MemoryError(said) from error
        # The code of a hundred architectures may raise anything.
        what = f"transformers failed: {said}"
        raise EngineFailedError(what) from error


def _prompt_tokens(tokenizer: Any, prompt: str) -> list[int]:  # noqa: ANN401 - no types
    """Return the tokens to continue.

    They begin with the beginning token where the tokenizer puts one and the text has none yet.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        what = f"the prompt is not valid Unicode: {error.reason}"
        raise PromptRefusedError(what) from error
    tokens: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if begin is not None and tokens[:1] != [begin]:
        adds = tokenizer(prompt or "a")["input_ids"][:1] == [begin]
        if adds or not tokens:
            return [begin, *tokens]
    return tokens or [end if end is not None else 0]
