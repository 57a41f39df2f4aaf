"""The byte-level alphabet of GPT-2, and the rules that cut a text into words.

The rules are written for a regular expression engine that knows Unicode categories. Python's has
none, so each character is first replaced by an ASCII character that stands for its class, and an
expression over those classes cuts that text; the places are the same. The expressions have no
nested repetition, so the time is linear in the text.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from types import MappingProxyType

__all__ = ["PRE_TOKENIZERS", "bytes_of_symbols", "split_words", "symbols_of"]

_LETTER, _OTHER = "A-Za-z", ".'"
_SPACES, _NOT_SPACE = r"[ \t\n]", rf"(?![{_LETTER}0{_OTHER}])"
_GPT2_ENDINGS = "'(?:s|t|re|ve|m|ll|d)"
_ANY_CASE_ENDINGS = "'(?i:s|t|re|ve|m|ll|d)"


def _gpt2_like(numbers: str, not_space: str) -> re.Pattern[str]:
    return re.compile(
        rf"{numbers}|{_GPT2_ENDINGS}| ?[{_LETTER}]+| ?[{_OTHER}]+"
        rf"|{_SPACES}+{not_space}|{_SPACES}+"
    )


def _llama3_like(numbers: str) -> re.Pattern[str]:
    return re.compile(
        rf"{_ANY_CASE_ENDINGS}|[ \t{_OTHER}]?[{_LETTER}]+|{numbers}| ?[{_OTHER}]+\n*"
        rf"|{_SPACES}*\n+|{_SPACES}+{_NOT_SPACE}|{_SPACES}+"
    )


PRE_TOKENIZERS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "gpt-2": _gpt2_like(" ?0+", _NOT_SPACE),
        # Digits are cut out first, each alone; a digit then ends the text before it.
        "smollm": _gpt2_like("0", rf"(?![{_LETTER}{_OTHER}])"),
        "qwen2": _llama3_like("0"),
        "llama-bpe": _llama3_like("0{1,3}"),
    }
)
"""The expressions over character classes, by the names that llama.cpp gives the rules."""


class _CharacterClasses(dict[int, str]):
    """Code point to class, filled as characters are met (``str.translate`` asks by item)."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _class_of(chr(code))
        return found


def _class_of(character: str) -> str:
    """Return ``0`` for a number, a letter for a letter, a blank for white space, else ``.``.

    ASCII letters and the apostrophe stand for themselves: the endings ('s, 'll) ask for them. The
    long s folds to s where case does not matter, as an upper-case one does.
    """
    if character in "\r\n":
        return "\n"
    if character in " '":
        return character
    if character in "\t\v\f\x85\u2028\u2029":
        return "\t"
    category = unicodedata.category(character)
    if category == "Zs":
        return "\t"
    if category[0] == "N":
        return "0"
    if category[0] == "L":
        if character.isascii():
            return character
        return "S" if character == "\u017f" else "a"
    return "."


_CLASSES = _CharacterClasses()


def split_words(text: str, pre_tokenizer: str) -> Iterator[str]:
    """Cut a text into the words inside which merging happens; joined, they are the text again.

    Args:
        text: any text.
        pre_tokenizer: a key of :data:`PRE_TOKENIZERS`.
    """
    for match in PRE_TOKENIZERS[pre_tokenizer].finditer(text.translate(_CLASSES)):
        yield text[match.start() : match.end()]


def _alphabet() -> str:
    """Return the character for each byte: printable ones stand for themselves, others from 256."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


_TO_SYMBOLS = dict(enumerate(_alphabet()))
_TO_BYTES = {ord(symbol): byte for byte, symbol in _TO_SYMBOLS.items()}


def symbols_of(text: str) -> str:
    """Spell the UTF-8 bytes of a text in the byte-level alphabet, one character a byte."""
    return text.encode("utf-8").decode("latin-1").translate(_TO_SYMBOLS)


def bytes_of_symbols(symbols: str) -> bytes:
    """Return the bytes that symbols spell; other characters stand for themselves, in UTF-8."""
    try:
        return bytes(map(_TO_BYTES.__getitem__, map(ord, symbols)))
    except KeyError:
        return symbols.encode("utf-8", "replace")
