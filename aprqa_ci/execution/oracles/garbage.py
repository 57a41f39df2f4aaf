"""Is it text at all, or what broken weights say?"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from aprqa_ci.execution.oracles import damage
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.json_text import parse_json
from aprqa_ci.execution.oracles.repetition import repetition, without_rules
from aprqa_ci.execution.oracles.settings import GarbageThresholds, garbage_thresholds
from aprqa_ci.execution.oracles.text import plain_answer, quoted
from aprqa_ci.wire import WireModel

__all__ = ["GarbageConfig", "GarbageOracle"]

_MAX_STRINGS = 256
"""So many strings inside a JSON answer are looked at."""


class GarbageConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the garbage oracle; what is absent comes from ``data/oracles.yaml``."""

    max_repetition_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    """The largest share of a window of the answer that may be repetition; 1 switches it off."""
    min_unique_chars: Annotated[int, msgspec.Meta(ge=0, le=1000)] | None = None
    """The least different characters of a long answer; short ones are not asked for it."""


@dataclass(frozen=True, kw_only=True)
class GarbageOracle:
    """The answer is not empty, not damaged, not a loop. It says nothing about being right."""

    config: GarbageConfig = field(default_factory=GarbageConfig)
    name: str = "garbage"

    def judge(self, question: Question, answer: str) -> Judgement:
        """Judge one answer; always applies."""
        plain = plain_answer(answer)
        if damage.is_blank(plain.text):
            return Judgement(
                oracle=self.name,
                verdict=OracleVerdict.FALSIFIED,
                reason="the answer is empty",
                kind="empty",
            )
        asked = "\n".join((*question.history, question.prompt))
        thresholds = self._thresholds()
        fault = _fault_of_answer(plain.text, asked, thresholds)
        for string in _strings(plain.text):
            if fault:
                break
            if inner := _fault_of_text(string, asked, thresholds):
                fault = f"in a JSON string: {inner}"
        return Judgement(
            oracle=self.name,
            verdict=OracleVerdict.FALSIFIED if fault else OracleVerdict.CORROBORATED,
            reason=(fault or "no sign of garbage") + plain.note,
            kind="garbage" if fault else "",
        )

    def _thresholds(self) -> GarbageThresholds:
        thresholds = garbage_thresholds()
        changed = {
            name: value
            for name in ("max_repetition_ratio", "min_unique_chars")
            if (value := getattr(self.config, name)) is not None
        }
        return msgspec.structs.replace(thresholds, **changed)


def _fault_of_answer(text: str, asked: str, thresholds: GarbageThresholds) -> str:
    """Return what is wrong with the answer as a whole, or nothing."""
    stripped = text.strip()
    if damage.control_character(stripped, asked):
        return _fault_of_text(stripped, asked, thresholds)
    if len(stripped) >= thresholds.punctuation_from_chars and damage.is_only_punctuation(stripped):
        return f"nothing but punctuation: {quoted(stripped)}"
    share = damage.nan_share(stripped, thresholds.nan_words)
    if share > thresholds.max_nan_share and not damage.nan_share(
        " ".join(word.strip("?!.") for word in asked.split()), thresholds.nan_words
    ):
        return f"{share:.0%} of the words are not numbers: {quoted(stripped)}"
    return _fault_of_text(stripped, asked, thresholds)


def _fault_of_text(text: str, asked: str, thresholds: GarbageThresholds) -> str:
    """Return what is wrong with a piece of text, or nothing."""
    if character := damage.control_character(text, asked):
        return f"the control character {character} in {quoted(text)}"
    if damage.replacement_character(text, asked):
        return f"replacement characters (bytes that are no text): {quoted(text)}"
    found = repetition(text, thresholds)
    if found.ratio > thresholds.max_repetition_ratio:
        return f"{found.ratio:.0%} repetition: {quoted(found.unit)} {found.times} times in a row"
    prose = without_rules(text)
    total, unique = damage.unique_characters(prose)
    if total >= thresholds.unique_from_chars and unique < thresholds.min_unique_chars:
        return f"only {unique} different characters among {total}: {quoted(text)}"
    if total >= thresholds.entropy_from_chars:
        bits = damage.entropy_bits(prose)
        if bits < thresholds.min_entropy_bits:
            return f"only {bits:.2f} bits a character: {quoted(text)}"
    share = damage.mojibake_share(text)
    if share > thresholds.max_mojibake_share and not damage.mojibake_share(asked):
        return f"{share:.0%} of the characters were decoded wrongly: {quoted(text)}"
    return ""


def _strings(text: str) -> Iterator[str]:
    """Yield the strings inside an answer that is JSON."""
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return
    try:
        pending = [parse_json(stripped)]
    except ValueError:
        return
    count = 0
    while pending and count < _MAX_STRINGS:
        value = pending.pop()
        if isinstance(value, str):
            count += 1
            yield value
        elif isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
