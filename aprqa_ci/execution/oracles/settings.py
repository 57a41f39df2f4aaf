"""The thresholds and word lists of ``data/oracles.yaml``."""

from functools import cache
from typing import Annotated, Literal

import msgspec

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = [
    "FreeRepeats",
    "GarbageThresholds",
    "ResponseSettings",
    "garbage_thresholds",
    "response_settings",
]

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class FreeRepeats(WireModel, frozen=True, kw_only=True):
    """How many times in a row something may be said before it counts as repetition."""

    letter: Count
    letters: Count
    letters_and_digits: Count
    other: Count
    digits: Count
    word: Count
    words: Count


class GarbageThresholds(WireModel, frozen=True, kw_only=True):
    """What the garbage oracle judges by; ``data/oracles.yaml`` says what each value means."""

    max_repetition_ratio: Share
    window_chars: Count
    tail_chars: Count
    max_period_chars: Count
    max_period_words: Count
    free_repeats: FreeRepeats
    min_unique_chars: int
    unique_from_chars: Count
    min_entropy_bits: float
    entropy_from_chars: Count
    punctuation_from_chars: Count
    max_nan_share: Share
    nan_words: frozenset[str]
    max_mojibake_share: Share


class ResponseSettings(WireModel, frozen=True, kw_only=True):
    """What the response oracle judges by."""

    relevance_from_words: Count
    stop_words: str
    control_tokens: tuple[str, ...]


class _OraclesFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-oracles/1"]
    garbage: GarbageThresholds
    response: ResponseSettings


@cache
def _settings() -> _OraclesFile:
    return load_data("oracles.yaml", _OraclesFile)


def garbage_thresholds() -> GarbageThresholds:
    """Return the thresholds of the garbage oracle.

    Raises:
        AprqaError: the installation is damaged.
    """
    return _settings().garbage


def response_settings() -> ResponseSettings:
    """Return the word lists and limits of the response oracle.

    Raises:
        AprqaError: the installation is damaged.
    """
    return _settings().response
