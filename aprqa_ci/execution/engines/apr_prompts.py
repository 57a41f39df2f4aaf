"""A model that the ``apr`` tool loads anew for every prompt."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from aprqa_ci.execution.engines.apr_answers import AprAnswer, AprAnswerError, parse_run
from aprqa_ci.execution.engines.apr_cli import AprCompleted, AprEnding
from aprqa_ci.execution.engines.apr_faults import raise_ending, raise_no_answer, require_own
from aprqa_ci.execution.engines.apr_process import AprTimeoutError
from aprqa_ci.execution.engines.apr_session import AprSession, HeldModel
from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    Message,
    NotOfferedError,
    Sampling,
    ServedModel,
)
from aprqa_ci.vocabulary import Backend

__all__ = ["AprPromptSession", "RunPrompt"]

RunPrompt = Callable[[str, int], AprCompleted]
"""Runs ``apr run`` with a prompt and the most tokens of its answer, to its end."""


class AprPromptSession(AprSession):
    """One ``apr run`` for each prompt: the model is loaded every time.

    The tool puts the model's chat template around a prompt itself, so one question of a user is all
    that can be asked; it takes neither temperature nor seed nor system message.
    """

    def __init__(self, held: HeldModel, run: RunPrompt) -> None:
        super().__init__(held)
        self._run = run

    def complete(
        self,
        prompt: str,
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Refuse raw text, which this way of asking does not have."""
        del prompt, sampling, on_text
        what = "apr run puts a chat template around every prompt: it does not continue raw text"
        raise NotOfferedError(what)

    def render(self, messages: Sequence[Message]) -> str:
        """Refuse; conversations are handed over as they are."""
        del messages
        what = "apr run renders the conversation itself"
        raise NotOfferedError(what)

    def converse(
        self,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer one question of a user.

        Raises:
            NotOfferedError: there is more than one message, a temperature is asked for, or the tool
                shows no text.
            PromptRefusedError: the question does not fit the context.
            EngineFailedError: the tool says that it failed.
            EngineAbsentError: the tool or the machine is at fault.
            MemoryError: there was not enough memory.
        """
        if len(messages) != 1 or messages[0].role != "user":
            what = "apr run takes one question: no system message and no earlier turns"
            raise NotOfferedError(what)
        if sampling.temperature > 0:
            what = "apr run takes no temperature and no seed"
            raise NotOfferedError(what)
        prompt = messages[0].content
        prompt_tokens = self.require_room(prompt)
        started = time.perf_counter()
        found = self.ask(prompt, sampling.max_tokens, loading=False)
        return self.answer(
            found, sampling, prompt_tokens=prompt_tokens, started=started, on_text=on_text
        )

    def ask(self, prompt: str, max_tokens: int, *, loading: bool) -> AprAnswer:
        """Run the tool once and return what it answers.

        Args:
            prompt: the question.
            max_tokens: the most tokens of the answer.
            loading: whether a failure means that the model cannot be loaded.
        """
        try:
            completed = self._run(prompt, max_tokens)
        except AprTimeoutError as error:
            what = f"apr run: {error}"
            raise EngineFailedError(what) from error
        if completed.ending is not AprEnding.DONE:
            # It becomes evidence with the errors of this process.
            sys.stderr.write(completed.stderr)
            raise_ending(
                completed.ending,
                completed.returncode,
                completed.describe(),
                loading=loading,
                crash=self.held.crash,
            )
        try:
            found = parse_run(completed.stdout, completed.stderr)
        except AprAnswerError as error:
            raise_no_answer(error, loading=loading)
        require_own(
            found, str(self.held.model.path), on_gpu=self.held.device.backend is Backend.GPU
        )
        return found

    def serve(self) -> AbstractContextManager[ServedModel]:
        """Refuse: this is the way for a tool without a usable server."""
        what = f"this apr has no usable server: {self.held.invocation}"
        raise NotOfferedError(what)
