"""The faults of an engine, by name: what a session that has one does with a question.

They are those of engines in the field: of libraries, of servers and of the machines they run on.
Each is a few lines around a sound session.
"""

import itertools
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from aprqa_ci.execution.engines.interface import (
    Answer,
    EngineFailedError,
    PromptRefusedError,
    Sampling,
)

__all__ = ["ANSWER_FAULTS", "END_FAULTS", "LOAD_FAULTS", "Asked", "Memory", "OnText", "Sound"]

OnText = Callable[[str], None] | None
_FOR_EVER = 3600.0
_MIB = 1 << 20


class Sound(Protocol):
    """The session below the fault."""

    def complete(self, prompt: str, sampling: Sampling, *, on_text: OnText = None) -> Answer:
        """Continue raw text."""
        ...


@dataclass(kw_only=True)
class Memory:
    """What a faulty session remembers between questions."""

    asked: int = 0
    """How many questions came so far, this one counted."""
    refused: bool = False
    """Whether a prompt was refused before."""
    prompt: str = ""
    """The last prompt."""
    kept: list[bytes] = field(default_factory=list)
    """What it never gives back."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question to a faulty session."""

    prompt: str
    sampling: Sampling
    on_text: OnText
    session: Sound
    memory: Memory

    def answer(self, **changes: Any) -> Answer:  # noqa: ANN401 - the question's own fields
        """Return what the sound session says, to the question or to a changed one."""
        asked = replace(self, **changes)
        return asked.session.complete(asked.prompt, asked.sampling, on_text=asked.on_text)


def _die() -> None:
    os.abort()


def _hang() -> None:
    time.sleep(_FOR_EVER)


def _at_token(number: int, act: Callable[[], None], asked: Asked) -> Answer:
    """Answer, and act when the ``number``-th piece of text is made."""
    pieces = itertools.count(1)

    def watch(text: str) -> None:
        if asked.on_text is not None:
            asked.on_text(text)
        if next(pieces) == number:
            act()

    return asked.answer(on_text=watch)


def _crash_at_token(asked: Asked, *, token: int) -> Answer:
    return _at_token(token, _die, asked)


def _crash_at_request(asked: Asked, *, request: int) -> Answer:
    if asked.memory.asked == request:
        _die()
    return asked.answer()


def _hang_at_token(asked: Asked, *, token: int, request: int) -> Answer:
    if asked.memory.asked < request:
        return asked.answer()
    return _at_token(token, _hang, asked)


def _fail_at_request(asked: Asked, *, every: int) -> Answer:
    if asked.memory.asked % every == 0:
        what = "the engine lost its context"
        raise EngineFailedError(what)
    return asked.answer()


def _empty(asked: Asked, *, every: int) -> Answer:
    answer = asked.answer()
    if asked.memory.asked % every:
        return answer
    return replace(answer, text="", completion_tokens=0)


def _echo(asked: Asked, *, every: int) -> Answer:
    answer = asked.answer()
    if asked.memory.asked % every:
        return answer
    return replace(answer, text=_question(asked.prompt))


def _question(prompt: str) -> str:
    """Return the last message of a rendered conversation, as far as it shows one."""
    last = prompt.rpartition("user\n")[2]
    return last.partition("<|im_end|>")[0] or prompt


def _repeat(asked: Asked, *, times: int) -> Answer:
    answer = asked.answer()
    return replace(answer, text=" ".join([answer.text] * times))


def _one_word(asked: Asked, *, word: str) -> Answer:
    answer = asked.answer()
    return replace(answer, text=" ".join([word] * max(2, answer.completion_tokens)))


def _wrong_after(asked: Asked, *, requests: int) -> Answer:
    """Answer the question before, once so many were asked, as a stale cache does."""
    before, asked.memory.prompt = asked.memory.prompt, asked.prompt
    if asked.memory.asked <= requests or not before:
        return asked.answer()
    return asked.answer(prompt=before)


def _remember(asked: Asked, *, characters: int) -> Answer:
    """Put the end of the last prompt before this one."""
    before, asked.memory.prompt = asked.memory.prompt, asked.prompt
    return asked.answer(prompt=before[-characters:] + asked.prompt)


def _cut_answer(asked: Asked, *, tokens: int) -> Answer:
    """Give no more than so many tokens, whatever was asked for."""
    limit = min(tokens, asked.sampling.max_tokens)
    answer = asked.answer(sampling=replace(asked.sampling, max_tokens=limit))
    return replace(answer, finish="stop")


def _garble(asked: Asked, *, every: int) -> Answer:
    """Break the bytes of an answer up, as a wrong decoder does."""
    answer = asked.answer()
    text = "".join(
        "\ufffd" if index % every == 0 else letter for index, letter in enumerate(answer.text)
    )
    return replace(answer, text=text)


def _leak(asked: Asked, *, mib: int) -> Answer:
    # Pages that are never written are not resident.
    asked.memory.kept.append(os.urandom(1 << 16) * (mib * _MIB >> 16))
    return asked.answer()


def _other_seed(asked: Asked, *, step: int) -> Answer:
    seed = asked.sampling.seed + step * asked.memory.asked
    return asked.answer(sampling=replace(asked.sampling, seed=seed))


def _never_greedy(asked: Asked, *, temperature: float) -> Answer:
    hot = max(asked.sampling.temperature, temperature)
    seed = asked.sampling.seed + asked.memory.asked
    return asked.answer(sampling=replace(asked.sampling, temperature=hot, seed=seed))


def _cut_prompt(asked: Asked, *, characters: int) -> Answer:
    """Drop the beginning of a prompt that is too long, and say nothing of it."""
    return asked.answer(prompt=asked.prompt[-characters:])


def _dies_of_overflow(asked: Asked) -> Answer:
    try:
        return asked.answer()
    except PromptRefusedError:
        _die()
        raise


def _stuck_after_refusal(asked: Asked) -> Answer:
    if asked.memory.refused:
        what = "the context is still full"
        raise EngineFailedError(what)
    try:
        return asked.answer()
    except PromptRefusedError:
        asked.memory.refused = True
        raise


def _slower(asked: Asked, *, factor: float) -> Answer:
    started = time.perf_counter()
    answer = asked.answer()
    wait = (factor - 1) * (time.perf_counter() - started)
    time.sleep(wait)
    first = answer.time_to_first_token_ms
    return replace(
        answer,
        duration_ms=answer.duration_ms + wait * 1000,
        time_to_first_token_ms=None if first is None else first * factor,
    )


def _slow_start(asked: Asked, *, ms: float) -> Answer:
    time.sleep(ms / 1000)
    answer = asked.answer()
    first = answer.time_to_first_token_ms
    return replace(
        answer,
        duration_ms=answer.duration_ms + ms,
        time_to_first_token_ms=None if first is None else first + ms,
    )


def _stall(asked: Asked, *, every: int, ms: float) -> Answer:
    if asked.memory.asked % every:
        return asked.answer()
    time.sleep(ms / 1000)
    answer = asked.answer()
    return replace(answer, duration_ms=answer.duration_ms + ms)


ANSWER_FAULTS: Final[Mapping[str, Callable[..., Answer]]] = {
    "crash-at-token": _crash_at_token,
    "crash-at-request": _crash_at_request,
    "hang-at-token": _hang_at_token,
    "fail-at-request": _fail_at_request,
    "empty": _empty,
    "echo": _echo,
    "repeat": _repeat,
    "one-word": _one_word,
    "wrong-after": _wrong_after,
    "remember": _remember,
    "cut-answer": _cut_answer,
    "garble": _garble,
    "leak": _leak,
    "other-seed": _other_seed,
    "never-greedy": _never_greedy,
    "cut-prompt": _cut_prompt,
    "dies-of-overflow": _dies_of_overflow,
    "stuck-after-refusal": _stuck_after_refusal,
    "slower": _slower,
    "slow-start": _slow_start,
    "stall": _stall,
}
"""What an answer is with the fault; the parameters are those of the mutant."""


def _refuse_to_load(*, message: str) -> None:
    raise OSError(message)


LOAD_FAULTS: Final[Mapping[str, Callable[..., None]]] = {
    "crash-at-load": _die,
    "hang-at-load": _hang,
    "error-at-load": _refuse_to_load,
}
"""What happens instead of loading."""

END_FAULTS: Final[Mapping[str, Callable[..., None]]] = {
    "crash-at-exit": _die,
}
"""What happens when the session is closed."""
