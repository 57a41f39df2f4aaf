"""Checks of how an engine draws tokens."""

from aprqa_ci.execution.engines.conformance.trial import Trial, expect
from aprqa_ci.execution.engines.interface import Sampling

__all__ = ["greedy_repeats", "seed", "temperature"]


def greedy_repeats(trial: Trial) -> str:
    """At temperature 0 the same question has the same answer, whatever was asked between."""
    question = trial.asked.named("long")
    before = trial.session.ask_known(question)
    first = before.text
    for other in ("conversation", "capital"):
        trial.session.ask_known(trial.asked.named(other))
        again = trial.session.ask_known(question)
        expect(again.text == first, f"asked again, it says {again.text!r}, and before {first!r}")
        expect(
            again.prompt_tokens == before.prompt_tokens,
            f"asked again, the prompt has {again.prompt_tokens} tokens, and before "
            f"{before.prompt_tokens}: something is left of other questions",
        )
    for number in trial.asked.open_question.seeds[:2]:
        sampling = Sampling(max_tokens=question.max_tokens, seed=number)
        seeded = trial.session.ask(question.turns, sampling=sampling).text
        expect(
            seeded == first, f"at temperature 0 the seed {number} changes the answer to {seeded!r}"
        )
    return "the same answer five times"


def temperature(trial: Trial) -> str:
    """Above 0, other answers come than the likeliest."""
    drawn = [_drawn(trial, number) for number in trial.asked.open_question.seeds]
    asked = trial.asked.open_question
    greedy = trial.session.ask(asked.turns, sampling=Sampling(max_tokens=asked.max_tokens)).text
    others = {text for text in drawn if text != greedy}
    expect(
        others,
        f"at temperature {asked.temperature:g} all of {len(drawn)} answers are the greedy one: "
        f"{greedy!r}",
    )
    return f"{len(others)} other answers among {len(drawn)} at temperature {asked.temperature:g}"


def seed(trial: Trial) -> str:
    """The same seed draws the same answer, and other seeds draw others."""
    numbers = trial.asked.open_question.seeds
    first = {number: _drawn(trial, number) for number in numbers}
    for number in numbers:
        again = _drawn(trial, number)
        expect(again == first[number], f"seed {number} drew {first[number]!r}, and then {again!r}")
    different = len(set(first.values()))
    expect(different > 1, f"every seed draws the same: {first[numbers[0]]!r}")
    return f"{len(numbers)} seeds draw {different} answers, each the same twice"


def _drawn(trial: Trial, number: int) -> str:
    asked = trial.asked.open_question
    sampling = Sampling(max_tokens=asked.max_tokens, temperature=asked.temperature, seed=number)
    return trial.session.ask(asked.turns, sampling=sampling).text
