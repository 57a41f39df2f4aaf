"""Prompt suites: versioned data files of questions, and drawing single prompts from them.

A suite file (``aprqa_ci/data/suites/*.yaml``) lists entries. An entry is a question with named
parameters (:mod:`aprqa_ci.planning.parameters`), the oracle that judges its answer, and a reference
answer that the oracle must accept: a suite whose own answers fail its own oracles is caught by a
test, and the bundled model is trained on the references.

Drawing is a pure function of suite, index, seed and modality; it gives the same prompt in every
process and Python version. A change of what a suite can draw needs a new ``version``.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec

from aprqa_ci.data_files import data_directory, load_data
from aprqa_ci.planning.parameters import Parameter, draw_values, fill, fill_text
from aprqa_ci.planning.plan import OracleSpec, PromptCase
from aprqa_ci.vocabulary import Category, Modality
from aprqa_ci.wire import WireModel

__all__ = ["DrawnPrompt", "Suite", "SuiteEntry", "draw_prompt", "entries_for", "load_suites"]

_SEED_LIMIT = 1 << 31
"""Sampling seeds stay below this: every engine takes 31 bits."""
_ANYWHERE = tuple(Modality)


class SuiteEntry(WireModel, frozen=True, kw_only=True):
    """One question of a suite, with its parameters still to be drawn."""

    id: str
    text: str | None = None
    """The only message of the user; or"""
    turns: tuple[str, ...] | None = None
    """several messages, each asked after the answer to the one before."""
    system: str | None = None
    raw: bool = False
    """The text is to be continued as it stands, without a chat template."""
    parameters: dict[str, Parameter] = msgspec.field(default_factory=dict)
    oracle: OracleSpec
    """Judges the answer to the last message."""
    reference: str | tuple[str, ...]
    """A right answer to each message."""
    max_tokens: int
    temperature: float = 0.0
    modalities: tuple[Modality, ...] | None = None
    """Where it makes sense; absent: see :attr:`allowed`."""
    gate: str | None = None

    def __post_init__(self) -> None:
        """Check what the types cannot.

        Raises:
            ValueError: the entry contradicts itself.
        """
        if (self.text is None) == (self.turns is None):
            what = f"{self.id}: an entry has either text or turns"
            raise ValueError(what)
        if len(self.references) != len(self.messages) or not self.messages:
            what = f"{self.id}: there is one reference for each message"
            raise ValueError(what)
        if self.raw and (self.turns is not None or self.system is not None):
            what = f"{self.id}: text to be continued has neither turns nor a system message"
            raise ValueError(what)

    @property
    def messages(self) -> tuple[str, ...]:
        """The user's messages in order, parameters not yet filled in."""
        return (self.text or "",) if self.turns is None else self.turns

    @property
    def references(self) -> tuple[str, ...]:
        """A right answer to each message, parameters not yet filled in."""
        return (self.reference,) if isinstance(self.reference, str) else self.reference

    @property
    def allowed(self) -> tuple[Modality, ...]:
        """The modalities the entry is asked in.

        A conversation needs a history, which run has not; text to be continued has no place in a
        chat.
        """
        if self.modalities is not None:
            return self.modalities
        if self.turns is not None:
            return (Modality.CHAT, Modality.SERVE)
        if self.raw:
            return (Modality.RUN, Modality.SERVE)
        return _ANYWHERE


class Suite(WireModel, frozen=True, kw_only=True):
    """One suite, as its data file has it."""

    schema: Literal["aprqa-suite/1"]
    name: str
    version: int
    category: Category
    gate: str | None = None
    """The gate of every entry that names none; absent: planning gives it by modality."""
    prompts: tuple[SuiteEntry, ...]
    lists: dict[str, tuple[str | dict[str, str], ...]] = msgspec.field(default_factory=dict)
    """Texts or rows that parameters choose from."""

    def __post_init__(self) -> None:
        """Check what the types cannot.

        Raises:
            ValueError: two entries share an id.
        """
        ids = [entry.id for entry in self.prompts]
        if len(set(ids)) != len(ids):
            what = f"{self.name}: two entries have the same id"
            raise ValueError(what)

    @property
    def label(self) -> str:
        """Name and version, as plans and evidence write them: ``arithmetic@1``."""
        return f"{self.name}@{self.version}"

    def has(self, modality: Modality) -> bool:
        """Whether the suite has anything to ask in that modality."""
        return any(modality in entry.allowed for entry in self.prompts)


@dataclass(frozen=True, kw_only=True)
class DrawnPrompt:
    """A prompt drawn from a suite, with what the suite says of it."""

    entry: str
    """The id of the suite's entry."""
    case: PromptCase
    gate: str | None
    """The gate that the outcome counts for; absent: it follows from modality and backend."""
    category: Category
    reference: tuple[str, ...]
    """A right answer to each turn. Never part of a plan: a model is not shown it."""


@cache
def load_suites() -> dict[str, Suite]:
    """Return all suites of the package by name, in order of their names.

    Raises:
        AprqaError: the installation is damaged.
    """
    directory = data_directory().joinpath("suites")
    files = sorted(item.name for item in directory.iterdir() if item.name.endswith(".yaml"))
    suites = [load_data(f"suites/{name}", Suite) for name in files]
    return {suite.name: suite for suite in suites}


def entries_for(suite: Suite, modality: Modality) -> tuple[SuiteEntry, ...]:
    """Return the suite's entries that are asked in that modality, in order."""
    return tuple(entry for entry in suite.prompts if modality in entry.allowed)


def draw_prompt(suite: Suite, index: int, *, seed: int, modality: Modality) -> DrawnPrompt:
    """Draw the prompt with that index.

    The index goes through the entries of the modality and starts over after the last, with other
    values for the parameters.

    Args:
        suite: the suite to draw from.
        index: 0 or more.
        seed: the playbook's seed.
        modality: how the prompt will be asked.

    Returns:
        The prompt, with a sampling seed of its own.

    Raises:
        ValueError: the suite has nothing for the modality.
    """
    entries = entries_for(suite, modality)
    if not entries:
        what = f"suite {suite.name} has nothing to ask in {modality}"
        raise ValueError(what)
    entry = entries[index % len(entries)]
    generator = _generator(suite.name, suite.version, index, seed)
    sampling_seed = int(generator.random() * _SEED_LIMIT)
    values = draw_values(entry.parameters, suite.lists, generator)
    oracle: dict[str, Any] = fill(entry.oracle.config, values)
    return DrawnPrompt(
        entry=entry.id,
        case=PromptCase(
            turns=_filled(entry.messages, values),
            system=None if entry.system is None else fill_text(entry.system, values),
            raw=entry.raw,
            suite=suite.label,
            oracle=OracleSpec(kind=entry.oracle.kind, config=oracle),
            max_tokens=entry.max_tokens,
            temperature=entry.temperature,
            seed=sampling_seed,
        ),
        gate=entry.gate or suite.gate,
        category=suite.category,
        reference=_filled(entry.references, values),
    )


def _filled(templates: Sequence[str], values: Mapping[str, int | str]) -> tuple[str, ...]:
    return tuple(fill_text(template, values) for template in templates)


def _generator(name: str, version: int, index: int, seed: int) -> random.Random:
    """Return a generator for one prompt: hash() differs between processes, SHA-256 does not."""
    text = f"{name}@{version}#{index}!{seed}"
    digest = hashlib.sha256(text.encode()).digest()
    return random.Random(int.from_bytes(digest))  # noqa: S311 - draws test prompts, not secrets
