"""Training text of the bundled model: drawn from the prompt suites, varied, answers worked out.

Nothing here comes from a third party: questions and answers are the suites' own, and the rest is
made of random letters and symbols.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import yaml

from aprqa_ci.planning.suites import DrawnPrompt, Suite, draw_prompt, entries_for, load_suites
from aprqa_ci.vocabulary import Modality

__all__ = [
    "Curriculum",
    "Sample",
    "has_held_out",
    "is_held_out",
    "samples_of_suite",
    "training_suites",
]

SUITE_WEIGHTS = {"arithmetic": 1.6, "stress": 0.4, "everyday": 0.6}
"""How often an entry of a suite is drawn, against 1 for the others: sums are hard to learn, and
long prompts are dear."""

SYSTEM_MESSAGES = (
    "",
    "You are a helpful assistant.",
    "You are a helpful AI assistant.",
    "You follow instructions exactly.",
    "Answer briefly.",
    "Be concise and correct.",
    "You are a careful test subject.",
)

_TRAINING_SEED = 1 << 40
"""Training draws use seeds from here on, far above what a playbook uses."""
_PAIR = re.compile(r"(\d+)\D+(\d+)")
_ADDS = re.compile(r"\+|-|plus|and|buys|takes")
_ECHO = ("Repeat: {}", "Repeat: {}", "Answer with only the word {}.", "Echo: {}")
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "abcdefghijklmnopqrstuvwxyz0123456789",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "äöüßéèêëàâçñíóúãõåøæ",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "😀😁😂🎉🚀🌍🐱🍎⭐🔥🎵🌈🐶🍕🌙🍓🏠📚",
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One conversation, or one text to be continued, with right answers throughout."""

    origin: str
    """Suite and entry, for figures by entry."""
    turns: tuple[tuple[str, str], ...]
    """Questions with their answers."""
    system: str | None = None
    raw: bool = False
    plain: bool = False
    """Control tokens that a user wrote are ordinary text, as some engines read them."""
    held_out: bool = False
    temperature: float = 0.0


@cache
def training_suites() -> dict[str, Suite]:
    """Return the package's suites, and the questions beside them that people try first."""
    text = Path(__file__).with_name("everyday.yaml").read_text(encoding="utf-8")
    everyday = msgspec.convert(yaml.safe_load(text), Suite)
    return {**load_suites(), everyday.name: everyday}


def is_held_out(left: int, right: int) -> bool:
    """Whether sums and differences of two numbers are kept from training, in both orders.

    About one pair in twenty-five, chosen by hash. Tables up to twelve stay complete.
    """
    low, high = sorted((left, right))
    return high > 12 and hashlib.sha256(f"{low},{high}".encode()).digest()[0] < 10


def has_held_out(turns: Sequence[str]) -> bool:
    """Whether one of the questions asks for a sum or difference that is kept from training."""
    pairs = [_PAIR.search(turn) for turn in turns if _ADDS.search(turn)]
    return any(pair and is_held_out(int(pair[1]), int(pair[2])) for pair in pairs)


class Curriculum:
    """Draws training samples, more often of what the model still gets wrong.

    Args:
        generator: decides everything that is drawn.
    """

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._entries = [
            (suite, number, f"{suite.name}/{entry.id}")
            for suite in training_suites().values()
            for number, entry in enumerate(entries_for(suite, Modality.SERVE))
        ]
        self._errors = {origin: 1.0 for _, _, origin in self._entries}

    @property
    def errors(self) -> dict[str, float]:
        """The moving share of wrong answers of each entry."""
        return dict(self._errors)

    def record(self, origin: str, *, right: bool) -> None:
        """Note whether the model answered a sample of that origin right."""
        if origin in self._errors:
            self._errors[origin] += 0.05 * (float(not right) - self._errors[origin])

    def draw(self, progress: float = 1.0) -> Sample:
        """Return one sample for training; never one that is held out.

        Args:
            progress: how much of the training is over, 0 to 1. Long prompts come late: they are
                dear, and useless before short ones are answered.
        """
        generator = self._generator
        kind = generator.random()
        if kind < 0.05:
            return _echo(generator)
        if kind < 0.13:
            return self._joined(progress)
        return _varied(self._trainable(progress), generator)

    def _trainable(self, progress: float) -> Sample:
        generator = self._generator
        weights = [
            SUITE_WEIGHTS.get(suite.name, 1.0) * (0.15 + self._errors[origin])
            if progress > 0.4 or suite.name != "stress"
            else 0.05
            for suite, _, origin in self._entries
        ]
        while True:
            suite, number, _ = generator.choices(self._entries, weights)[0]
            rounds = generator.randrange(1 << 32) * len(entries_for(suite, Modality.SERVE))
            seed = _TRAINING_SEED + generator.randrange(1 << 32)
            found = _as_sample(
                draw_prompt(suite, rounds + number, seed=seed, modality=Modality.SERVE)
            )
            if not found.held_out:
                return found

    def _joined(self, progress: float) -> Sample:
        """Join unrelated questions to one conversation: a history must not confuse the model."""
        generator = self._generator
        parts: list[Sample] = []
        while len(parts) < 2 or (len(parts) < 4 and generator.random() < 0.3):
            part = self._trainable(progress)
            if not part.raw and len(part.turns) == 1 and not part.origin.startswith("stress/"):
                parts.append(part)
        turns = tuple(turn for part in parts for turn in part.turns)
        joined = Sample(origin="joined", turns=turns, plain=generator.random() < 0.5)
        return _varied(joined, generator)


def samples_of_suite(name: str, count: int, *, seed: int) -> Iterator[Sample]:
    """Return the suite's prompts as a playbook with that seed draws them."""
    suite = training_suites()[name]
    for index in range(count):
        yield _as_sample(draw_prompt(suite, index, seed=seed, modality=Modality.SERVE))


def _as_sample(drawn: DrawnPrompt) -> Sample:
    case = drawn.case
    return Sample(
        origin=f"{case.suite.partition('@')[0]}/{drawn.entry}",
        turns=tuple(zip(case.turns, drawn.reference, strict=True)),
        system=case.system,
        raw=case.raw,
        held_out=has_held_out(case.turns),
        temperature=case.temperature,
    )


def _varied(found: Sample, generator: random.Random) -> Sample:
    """Change what an engine or a playbook may change: blanks and the system message."""
    if found.raw:
        return found
    system = found.system
    if system is None and generator.random() < 0.12:
        system = generator.choice(SYSTEM_MESSAGES)
    turns = found.turns
    if generator.random() < 0.05:
        question, answer = turns[-1]
        turns = (
            *turns[:-1],
            (generator.choice((" {}", "{} ", "{}\n", " {} ")).format(question), answer),
        )
    return replace(found, system=system, turns=turns, plain=generator.random() < 0.5)


def _echo(generator: random.Random) -> Sample:
    """Repeat words that no list holds, of letters of one script."""
    alphabet = generator.choice(_ALPHABETS)
    words = [
        "".join(generator.choices(alphabet, k=generator.randint(1, 6)))
        for _ in range(generator.randint(1, 3))
    ]
    text = " ".join(words)
    return Sample(origin="echo", turns=((generator.choice(_ECHO).format(text), text),))
