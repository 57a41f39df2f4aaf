"""Checks of what an engine says to questions whose answer is known."""

from aprqa_ci.execution.checks.comparison import similarity
from aprqa_ci.execution.engines.conformance.questions import KnownQuestion
from aprqa_ci.execution.engines.conformance.trial import (
    CheckFailedError,
    NotApplicableError,
    NotTriedError,
    Trial,
    expect,
)
from aprqa_ci.execution.engines.interface import Sampling
from aprqa_ci.execution.limits import load_limits
from aprqa_ci.execution.protocol import Answered
from aprqa_ci.quantizations import quantization_catalogue

__all__ = [
    "agrees_with_reference",
    "answers_right",
    "chat_template",
    "continues_raw_text",
    "counts_tokens",
    "max_tokens",
    "stops",
    "streams",
]

_SHORT = 3
_STREAM_TRIES = 3
_IN_THE_MIDST = 0.9
"""A first piece later than this share of the whole answer was not handed out while it was made."""


def answers_right(trial: Trial) -> str:
    """Greedy answers on the bundled model are the known ones."""
    if not trial.bundled:
        what = "which answers are right is known of the bundled model alone"
        raise NotApplicableError(what)
    asked = _conversations(trial)
    for question in asked:
        _same(question, trial.session.ask_known(question), question.text, "the right answer")
    return f"{len(asked)} answers are right"


def agrees_with_reference(trial: Trial) -> str:
    """Greedy answers are those of the reference engine, as far as the quantization allows."""
    asked = _conversations(trial)
    limit = 1.0 if trial.bundled else _agreement_limit(trial.model.quantization)
    alike = []
    for question in asked:
        truth = trial.reference_truth(question).text
        said = trial.session.ask_known(question).text
        alike.append(1.0 if said == truth else similarity(said, truth))
        if limit == 1.0 and said != truth:
            what = f"{question.turns[-1]!r}: {said!r}, and the reference engine {truth!r}"
            raise CheckFailedError(what)
    mean = sum(alike) / len(alike)
    expect(mean >= limit, f"the answers are alike by {mean:.2f}; the limit is {limit:g}")
    return f"{len(asked)} answers are alike by {mean:.2f}; the limit is {limit:g}"


def continues_raw_text(trial: Trial) -> str:
    """Raw text is continued as it stands, without a template around it."""
    question = trial.asked.named("raw")
    truth = trial.truth(question)
    answer = trial.session.ask_known(question)
    if trial.bundled:
        _same(question, answer, truth.text, "the known continuation")
    expect(
        answer.prompt_tokens == truth.prompt_tokens,
        f"it counts {answer.prompt_tokens} tokens of the text {question.turns[-1]!r}, which has "
        f"{truth.prompt_tokens}: it continues another text",
    )
    return f"{question.turns[-1]!r} is {truth.prompt_tokens} tokens and is continued"


def chat_template(trial: Trial) -> str:
    """A conversation becomes the text of the model's own template.

    An engine that puts a system message of its own around it, or drops one, counts other tokens.
    """
    question = trial.asked.named("conversation")
    truth = trial.truth(question)
    answer = trial.session.ask_known(question)
    expect(
        answer.prompt_tokens == truth.prompt_tokens,
        f"a conversation with a system message is {answer.prompt_tokens} tokens to it, and "
        f"{truth.prompt_tokens} in the model's own template",
    )
    if trial.bundled:
        _same(question, answer, truth.text, "the right answer")
    return f"a system message and two turns are {truth.prompt_tokens} tokens, as they should be"


def counts_tokens(trial: Trial) -> str:
    """Tokens of prompt and answer are counted as they are.

    A server counts the end token of an answer that ended by itself; that one is let pass.
    """
    compared = 0
    for question in _conversations(trial):
        truth = trial.truth(question)
        answer = trial.session.ask_known(question)
        expect(
            answer.prompt_tokens == truth.prompt_tokens,
            f"{question.turns[-1]!r}: it counts {answer.prompt_tokens} tokens of prompt; there are "
            f"{truth.prompt_tokens}",
        )
        if answer.text != truth.text:
            continue
        allowed = {truth.completion_tokens, truth.completion_tokens + (answer.finish == "stop")}
        expect(
            answer.completion_tokens in allowed,
            f"{question.turns[-1]!r}: it counts {answer.completion_tokens} tokens of answer; there "
            f"are {truth.completion_tokens}",
        )
        compared += 1
    if not compared:
        what = "no answer is the same as the known one, so none could be counted"
        raise NotTriedError(what)
    return f"the tokens of {compared} answers and their prompts are counted right"


def max_tokens(trial: Trial) -> str:
    """An answer is no longer than asked for, and says what ended it."""
    whole, long = _long_answer(trial)
    for limit in (1, _SHORT):
        answer = trial.session.ask(long.turns, sampling=Sampling(max_tokens=limit))
        expect(
            answer.completion_tokens == limit and answer.finish == "length",
            f"asked for {limit} tokens of a longer answer it gives {answer.completion_tokens} and "
            f"says {answer.finish!r}",
        )
        expect(
            whole.startswith(answer.text) and answer.text != whole,
            f"the first {limit} tokens are {answer.text!r}, and the whole answer is {whole!r}",
        )
    if trial.bundled:
        short = trial.asked.named("sum")
        answer = trial.session.ask_known(short)
        expect(
            answer.finish == "stop",
            f"an answer that ended by itself is said to have ended by {answer.finish!r}",
        )
    return f"1 and {_SHORT} tokens are given when asked for"


def stops(trial: Trial) -> str:
    """An answer ends before a stop text, one that begins in the midst of a token included."""
    whole, long = _long_answer(trial)
    middle = len(whole) // 2
    stop = whole[middle : middle + 3]
    wanted = whole[: whole.index(stop)]
    for others in ((), ("this is not said",)):
        sampling = Sampling(max_tokens=long.max_tokens, stop=(*others, stop))
        answer = trial.session.ask(long.turns, sampling=sampling)
        expect(
            answer.text == wanted,
            f"with the stop text {stop!r} it says {answer.text!r}, and not {wanted!r}",
        )
        expect(answer.finish == "stop", f"it says that the answer ended by {answer.finish!r}")
    return f"{stop!r} ends the answer and is no part of it"


def streams(trial: Trial) -> str:
    """Text is handed out while it is made."""
    whole, long = _long_answer(trial)
    shares = []
    for _ in range(_STREAM_TRIES):
        answer = trial.session.ask(
            long.turns, sampling=Sampling(max_tokens=long.max_tokens), watched=True
        )
        told = "".join(answer.pieces)
        expect(told == answer.text, f"its pieces are {told!r}, and its answer {answer.text!r}")
        expect(answer.text == whole, f"watched, it says {answer.text!r}, and not {whole!r}")
        expect(len(answer.pieces) > 1, "it hands out its answer in one piece")
        expect(answer.time_to_first_token_ms is not None, "it does not time its first token")
        shares.append((answer.first_piece_ms or 0.0) / answer.duration_ms)
        if shares[-1] < _IN_THE_MIDST:
            return f"{len(answer.pieces)} pieces, the first after {shares[-1]:.0%} of the time"
    what = f"its first piece comes after {min(shares):.0%} of the time at the earliest"
    raise CheckFailedError(what)


def _conversations(trial: Trial) -> list[KnownQuestion]:
    return [question for question in trial.asked.questions if not question.raw]


def _long_answer(trial: Trial) -> tuple[str, KnownQuestion]:
    """Return an answer that was cut by its length, and its question.

    Raises:
        NotTriedError: the model says too little to be cut.
    """
    question = trial.asked.named("long")
    answer = trial.session.ask_known(question)
    if len(set(answer.text)) < _SHORT or answer.completion_tokens <= _SHORT:
        what = f"the model says too little to {question.turns[-1]!r}: {answer.text!r}"
        raise NotTriedError(what)
    return answer.text, question


def _same(question: KnownQuestion, answer: Answered, text: str, name: str) -> None:
    expect(answer.text == text, f"{question.turns[-1]!r}: {answer.text!r}, and {name} is {text!r}")


def _agreement_limit(quantization: str | None) -> float:
    classes = load_limits().classes
    if quantization is None:
        return classes["exact"].agreement
    return classes[quantization_catalogue()[quantization].agreement].agreement
