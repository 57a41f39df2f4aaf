"""How much of a text only says again what stands directly before it."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aprqa_ci.execution.oracles.settings import FreeRepeats, GarbageThresholds

__all__ = ["Repetition", "repetition", "without_rules"]

# Lines that draw a rule or the head of a table, and hexadecimal numerals, repeat by their nature.
_RULE_LINE = re.compile(r"^[ \t\-=_*#|+:~\u2500-\u257f]{1,160}$", re.MULTILINE)
_HEX = re.compile(r"(?<!\w)(?:#|0[xX]|\\[ux])[0-9A-Fa-f]{1,16}(?!\w)")
_WORD = re.compile(r"\S+")
_LIST_MARK = re.compile(r"(?:^|\n)[ \t]*(\d{1,4}[.):]|[-*\u2022])(?=[ \t])")

_LETTER, _DIGIT, _OTHER = 1, 2, 0


def without_rules(text: str) -> str:
    """Return the text without lines that only draw a rule or the head of a table."""
    return _RULE_LINE.sub("", text)


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """What was found in the worst window."""

    ratio: float
    """The share of the window's characters, blanks left out, that are repetition."""
    unit: str
    """What is said most often in a row, or nothing."""
    times: int
    """How often in a row."""


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One thing said several times in a row, as character positions."""

    start: int
    repeats: int
    """Where its second saying starts."""
    end: int
    times: int


def repetition(text: str, thresholds: GarbageThresholds) -> Repetition:
    """Measure the repetition of a text.

    A run is a unit of characters without blanks, or of words, said more often in a row than its
    kind may be (``free_repeats``); all of the run but its first saying is repetition. The ratio is
    the largest over windows of ``window_chars`` and over the last ``tail_chars`` characters.
    """
    repeated = np.zeros(len(text), dtype=bool)
    counted = np.array([not character.isspace() for character in text], dtype=bool)
    runs = [*_character_runs(text, counted, thresholds), *_word_runs(text, thresholds)]
    for run in runs:
        repeated[run.repeats : run.end] = True
    for match in _HEX.finditer(text):
        repeated[slice(*match.span())] = False
    for match in _RULE_LINE.finditer(text):
        counted[slice(*match.span())] = False
    worst = max(runs, key=lambda run: run.end - run.repeats, default=None)
    unit = text[worst.start : worst.repeats].strip() if worst else ""
    return Repetition(
        ratio=_worst_window(repeated[counted], thresholds),
        unit=unit,
        times=worst.times if worst else 0,
    )


def _worst_window(repeated: NDArray[np.bool_], thresholds: GarbageThresholds) -> float:
    size = len(repeated)
    if not size:
        return 0.0
    sums = np.concatenate(([0], np.cumsum(repeated)))
    window = min(thresholds.window_chars, size)
    starts = np.append(np.arange(0, size - window, max(1, window // 2)), size - window)
    ratio = float(((sums[starts + window] - sums[starts]) / window).max())
    tail = min(thresholds.tail_chars, size)
    return max(ratio, float((sums[size] - sums[size - tail]) / tail))


def _equal_runs(values: NDArray[np.int64], period: int, least: int) -> Iterator[tuple[int, int]]:
    """Yield (start, length) of the stretches that equal what stands ``period`` before them."""
    same = np.concatenate(([False], values[period:] == values[:-period], [False]))
    edges = np.flatnonzero(same[1:] != same[:-1])
    starts, ends = edges[::2], edges[1::2]
    long_enough = ends - starts >= least
    for start, end in zip(starts[long_enough], ends[long_enough], strict=True):
        yield int(start), int(end - start)


def _character_runs(
    text: str, counted: NDArray[np.bool_], thresholds: GarbageThresholds
) -> Iterator[_Run]:
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    # A blank equals nothing, not even itself.
    blanks = np.flatnonzero(~counted)
    values = codes.copy()
    values[blanks] = -1 - blanks
    distinct, where = np.unique(codes, return_inverse=True)
    classes = np.array([_class_of(chr(code)) for code in distinct], dtype=np.int64)[where]
    letters = np.concatenate(([0], np.cumsum(classes == _LETTER)))
    digits = np.concatenate(([0], np.cumsum(classes == _DIGIT)))
    free = thresholds.free_repeats
    for period in range(1, min(thresholds.max_period_chars, len(text) // 2) + 1):
        for start, length in _equal_runs(values, period, period * 2):
            has_letters = int(letters[start + period] - letters[start])
            has_digits = int(digits[start + period] - digits[start])
            times = length // period + 1
            if times > _may_be_said(period, has_letters, has_digits, free):
                end = start + period + length
                yield _Run(start=start, repeats=start + period, end=end, times=times)


def _may_be_said(period: int, letters: int, digits: int, free: FreeRepeats) -> int:
    """Return how often in a row a unit of characters may be said."""
    if letters:
        if period == 1:
            return free.letter
        mixed = digits and letters + digits == period
        return free.letters_and_digits if mixed else free.letters
    if digits == period:
        return free.digits // period
    return free.other


def _class_of(character: str) -> int:
    category = unicodedata.category(character)
    # Emoji are said as letters are.
    if category[0] in "LM" or category == "So":
        return _LETTER
    return _DIGIT if category[0] == "N" else _OTHER


def _word_runs(text: str, thresholds: GarbageThresholds) -> Iterator[_Run]:
    marks = {match.start(1) for match in _LIST_MARK.finditer(text)}
    spans: list[tuple[int, int]] = []
    words: list[str] = []
    for match in _WORD.finditer(text):
        word = _bare(match[0].casefold())
        if word and match.start() not in marks:
            spans.append(match.span())
            words.append(word)
    numbers: dict[str, int] = {}
    values = np.array([numbers.setdefault(word, len(numbers)) for word in words], dtype=np.int64)
    free = thresholds.free_repeats
    for period in range(1, min(thresholds.max_period_words, len(words) // 2) + 1):
        for start, length in _equal_runs(values, period, period * 2):
            times = length // period + 1
            lettered = _has_letters(words[start : start + period])
            allowed = free.other if not lettered else free.word if period == 1 else free.words
            if times > allowed:
                yield _Run(
                    start=spans[start][0],
                    repeats=spans[start + period][0],
                    end=spans[start + period + length - 1][1],
                    times=times,
                )


def _bare(word: str) -> str:
    """Take punctuation off both ends."""
    start, end = 0, len(word)
    while start < end and not _is_said(word[start]):
        start += 1
    while end > start and not _is_said(word[end - 1]):
        end -= 1
    return word[start:end]


def _is_said(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == "So"


def _has_letters(words: Sequence[str]) -> bool:
    return any(character.isalpha() for word in words for character in word)
