"""Is it an answer at all? Not empty, not an echo, no foreign text, about the question."""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated

import msgspec

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.settings import response_settings
from aprqa_ci.execution.oracles.text import fenced_blocks, plain_answer, quoted
from aprqa_ci.planning.oracle_choice import code_language
from aprqa_ci.wire import WireModel

__all__ = ["ResponseConfig", "ResponseOracle", "relevance_of"]


class ResponseConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the response oracle."""

    min_relevance: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """The least share of the prompt's content words that a longer answer takes up; 0 is off."""
    forbid: tuple[str, ...] = ()
    """Texts that an answer must not hold, in whatever case."""
    min_chars: Annotated[int, msgspec.Meta(ge=1)] = 1
    """The least characters of an answer, blanks around it left out."""

    def __post_init__(self) -> None:
        """Refuse to forbid the empty text, which every answer holds."""
        if not all(self.forbid):
            what = "response cannot forbid an empty text"
            raise InputError(what)


@dataclass(frozen=True, kw_only=True)
class ResponseOracle:
    """The answer is one: text, not the prompt again, nothing that was forbidden."""

    config: ResponseConfig = field(default_factory=ResponseConfig)
    name: str = "response"

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer; always applies."""
        plain = plain_answer(answer)
        text = plain.text.strip()
        if not text:
            return Judgement(
                oracle=self.name,
                verdict=OracleVerdict.FALSIFIED,
                reason="the answer is empty",
                kind="empty",
            )
        relevance, missed = self._relevance(question, text)
        fault = self._fault(question, text) or missed
        return Judgement(
            oracle=self.name,
            verdict=OracleVerdict.FALSIFIED if fault else OracleVerdict.CORROBORATED,
            reason=(fault or f"an answer of {len(text)} characters{relevance}") + plain.note,
            kind="wrong" if fault else "",
        )

    def _fault(self, question: Question, text: str) -> str:
        if len(text) < self.config.min_chars:
            return f"{len(text)} characters, at least {self.config.min_chars} are asked for"
        if _is_echo(question.prompt, text):
            return f"the answer only repeats the prompt: {quoted(text)}"
        asked = "\n".join((*question.history, question.prompt))
        for token in response_settings().control_tokens:
            if token in text and token not in asked:
                return f"the control token {token} stands in the answer"
        folded = text.casefold()
        for forbidden in self.config.forbid:
            if forbidden.casefold() in folded:
                return f"the answer holds {quoted(forbidden)}, which is forbidden"
        return ""

    def _relevance(self, question: Question, text: str) -> tuple[str, str]:
        """Return what to say of the relevance, and the fault if it is too low."""
        if not self.config.min_relevance:
            return "", ""
        share = relevance_of(question.prompt, text)
        if isinstance(share, str):
            return f", {share}: relevance not measured", ""
        said = f"{share:.2f} of the prompt's content words"
        if share < self.config.min_relevance:
            return (
                "",
                f"the answer takes up only {said}, {self.config.min_relevance:g} are asked for",
            )
        return f", taking up {said}", ""


def relevance_of(prompt: str, answer: str) -> float | str:
    """Return the share of the prompt's content words that an answer takes up, 0 to 1.

    Short answers and code need not take any up; then why it is not measured is returned.
    """
    least = response_settings().relevance_from_words
    if len(answer.split()) < least:
        return f"fewer than {least} words"
    if fenced_blocks(answer) or code_language(prompt) is not None:
        return "about code"
    asked = _content_words(prompt)
    if not asked:
        return "the prompt has no content words"
    return len(asked & _content_words(answer)) / len(asked)


_ASKS_FOR_ECHO = re.compile(
    r"\b(?:repeat|echo|say|copy|type|print|write|output|return|spell|quote|recite|parrot)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


def _is_echo(prompt: str, text: str) -> bool:
    """Whether the answer is the prompt and nothing else, said once or more often.

    A greeting or a word may well be answered by itself, and who asks for an echo gets one.
    """
    asked = _WORD.findall(prompt.casefold())
    if len(asked) < 3 and not prompt.rstrip().endswith("?"):
        return False
    said = _WORD.findall(text.casefold())
    if not asked or not said or _ASKS_FOR_ECHO.search(prompt):
        return False
    times, rest = divmod(len(said), len(asked))
    return said == asked * times + asked[:rest] and times > 0


@cache
def _stop_words() -> frozenset[str]:
    return frozenset(response_settings().stop_words.split())


def _content_words(text: str) -> set[str]:
    """Return the stems of the words that carry meaning."""
    words = re.findall(r"[^\W\d_]{3,}", text.casefold())
    # Five letters are stem enough to see that "queues" takes up "queue".
    return {word[:5].rstrip("s") for word in words if word not in _stop_words()}
