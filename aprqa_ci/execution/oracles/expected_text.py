"""Is the answer, or does it hold, the expected text?"""

import re
import unicodedata
from dataclasses import dataclass

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.text import plain_answer, quoted
from aprqa_ci.wire import WireModel

__all__ = ["ContainsConfig", "ContainsOracle", "ExactConfig", "ExactOracle"]

_INVISIBLE = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufe0e\ufe0f\ufeff]")
_AROUND = " \t\n\"'`*_\u201c\u201d\u2018\u2019\u00ab\u00bb\u201e"
_FINAL = ".!?;:,\u3002\uff01\uff1f\u061f\u06d4\u0964"
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})


class ExactConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the exact oracle."""

    expect: str | tuple[str, ...]
    """The right answer, or several of which one must be given."""
    ignore_case: bool = True

    def __post_init__(self) -> None:
        """Refuse an expectation that everything or nothing fits."""
        if not self.expect or not all(_listed(self.expect)):
            what = "exact needs a text to expect"
            raise InputError(what)


class ContainsConfig(WireModel, frozen=True, kw_only=True):
    """Settings of the contains oracle; at least one of the lists is needed."""

    all: str | tuple[str, ...] = ()
    """Each of these must be there."""
    any: str | tuple[str, ...] = ()
    """One of these must be there."""
    none: str | tuple[str, ...] = ()
    """None of these may be there."""
    ignore_case: bool = True

    def __post_init__(self) -> None:
        """Refuse settings that check nothing."""
        texts = (*_listed(self.all), *_listed(self.any), *_listed(self.none))
        if not texts or not all(_even(text, ignore_case=False) for text in texts):
            what = "contains needs texts in all, any or none"
            raise InputError(what)


@dataclass(frozen=True, kw_only=True)
class ExactOracle:
    """The answer equals the expectation.

    Blanks around it and runs of them, quotes, backticks and emphasis around it and the final
    punctuation are not compared; letters are compared in Unicode form NFC.
    """

    config: ExactConfig
    name: str = "exact"

    def judge(self, question: Question, answer: str) -> Judgement:  # noqa: ARG002 - the interface
        """Judge one answer."""
        plain = plain_answer(answer)
        given = _bare(plain.text, ignore_case=self.config.ignore_case)
        expected = _listed(self.config.expect)
        right = any(given == _bare(text, ignore_case=self.config.ignore_case) for text in expected)
        wanted = " or ".join(quoted(text) for text in expected)
        return Judgement(
            oracle=self.name,
            verdict=OracleVerdict.CORROBORATED if right else OracleVerdict.FALSIFIED,
            reason=f"expected {wanted}, the answer is {quoted(plain.text.strip())}{plain.note}",
            kind="" if right else "wrong",
        )


@dataclass(frozen=True, kw_only=True)
class ContainsOracle:
    """The answer holds the expected texts as whole words.

    A word border is asked for where the expectation begins or ends with a letter or digit of a
    script that puts blanks between words; blanks match runs of blanks.
    """

    config: ContainsConfig
    name: str = "contains"

    def judge(self, question: Question, answer: str) -> Judgement:  # noqa: ARG002 - the interface
        """Judge one answer."""
        plain = plain_answer(answer)
        text = _even(plain.text, ignore_case=self.config.ignore_case)
        has = {
            wanted: _holds(text, _even(wanted, ignore_case=self.config.ignore_case))
            for listed in (self.config.all, self.config.any, self.config.none)
            for wanted in _listed(listed)
        }
        faults = [
            f"{quoted(wanted)} is missing" for wanted in _listed(self.config.all) if not has[wanted]
        ]
        alternatives = _listed(self.config.any)
        if alternatives and not any(has[wanted] for wanted in alternatives):
            faults.append(
                f"none of {', '.join(quoted(wanted) for wanted in alternatives)} is there"
            )
        faults += [
            f"{quoted(wanted)} is there" for wanted in _listed(self.config.none) if has[wanted]
        ]
        reason = "; ".join(faults) or "every expectation is met"
        return Judgement(
            oracle=self.name,
            verdict=OracleVerdict.FALSIFIED if faults else OracleVerdict.CORROBORATED,
            reason=f"{reason}; the answer is {quoted(plain.text.strip())}{plain.note}",
            kind="wrong" if faults else "",
        )


def _listed(texts: str | tuple[str, ...]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else texts


def _even(text: str, *, ignore_case: bool) -> str:
    """Bring a text to the form in which texts are compared."""
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text)).translate(_APOSTROPHES)
    text = " ".join(text.split())
    return unicodedata.normalize("NFC", text.casefold()) if ignore_case else text


def _bare(text: str, *, ignore_case: bool) -> str:
    """Take quotes, emphasis and final punctuation off; a text of nothing else stays."""
    text = _even(text, ignore_case=ignore_case)
    return text.strip(_AROUND).rstrip(_FINAL + _AROUND).strip(_AROUND) or text


def _holds(text: str, wanted: str) -> bool:
    begins, ends = _needs_border(wanted[0]), _needs_border(wanted[-1])
    at = text.find(wanted)
    while at >= 0:
        after = at + len(wanted)
        before_ok = not begins or at == 0 or not _is_word(text[at - 1])
        after_ok = not ends or after == len(text) or not _is_word(text[after])
        if before_ok and after_ok:
            return True
        at = text.find(wanted, at + 1)
    return False


def _is_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) in {"Mn", "Mc"}


_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def _needs_border(character: str) -> bool:
    return _is_word(character) and not _UNSPACED.match(character)
