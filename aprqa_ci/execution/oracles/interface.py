"""What an oracle is: it judges one answer, or says that it cannot."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

__all__ = ["Judgement", "Oracle", "OracleVerdict", "Question"]


class OracleVerdict(StrEnum):
    """What an oracle found."""

    CORROBORATED = "Corroborated"
    FALSIFIED = "Falsified"
    NOT_APPLICABLE = "NotApplicable"
    """It has nothing to check here; the answer has not been checked by it."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked, as far as an oracle needs to know."""

    prompt: str
    """The last message of the user."""
    history: tuple[str, ...] = ()
    """The user's messages before it."""
    raw: bool = False
    """Whether the prompt is text to be continued rather than a question."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One oracle's finding, with the reason in words that quote what was seen."""

    oracle: str
    verdict: OracleVerdict
    reason: str
    kind: Literal["garbage", "empty", "wrong", ""] = ""
    """Of a falsification: garbage and empty answers count for gateway G4 as well."""
    parts: tuple["Judgement", ...] = ()
    """The members' findings, for a composite."""


class Oracle(Protocol):
    """Judges answers. Pure: the same question and answer give the same finding."""

    @property
    def name(self) -> str:
        """Its name in the registry."""
        ...

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer."""
        ...
