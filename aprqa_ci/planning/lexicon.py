"""The words of ``data/lexicon.yaml``."""

from functools import cache
from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = ["Lexicon", "lexicon"]


class Lexicon(WireModel, frozen=True, kw_only=True):
    """English words by what they do; the data file says what each list is for."""

    schema: Literal["aprqa-lexicon/1"]
    units: tuple[str, ...]
    tens: tuple[str, ...]
    further: frozenset[str]
    may_follow: frozenset[str]
    connectors: frozenset[str]
    fillers: frozenset[str]
    result_words: frozenset[str]
    negations: frozenset[str]
    asks: frozenset[str]
    makes_code: frozenset[str]
    code_words: frozenset[str]
    languages: dict[str, str]


@cache
def lexicon() -> Lexicon:
    """Return the word lists.

    Raises:
        AprqaError: the installation is damaged.
    """
    return load_data("lexicon.yaml", Lexicon)
