"""Signs of damage in a text: characters that no sentence holds, bytes decoded wrongly."""

import math
import re
import unicodedata
from collections import Counter
from functools import cache

__all__ = [
    "control_character",
    "entropy_bits",
    "is_blank",
    "is_only_punctuation",
    "mojibake_share",
    "nan_share",
    "replacement_character",
    "unique_characters",
]

_INVISIBLE = re.compile("[\\s\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]+")


def is_blank(text: str) -> bool:
    """Whether there is nothing to be seen."""
    return not _INVISIBLE.sub("", text)


def control_character(text: str, asked: str) -> str | None:
    """Return the name of the first control character or lone surrogate that the prompt has not."""
    for character in sorted(set(text) - set(asked) - set("\n\t\r")):
        if unicodedata.category(character) in {"Cc", "Cs"}:
            return f"U+{ord(character):04X}"
    return None


def replacement_character(text: str, asked: str) -> bool:
    """Whether U+FFFD stands before the end, where the token limit may cut a character."""
    stripped = text.rstrip()
    rest = stripped.rstrip("\ufffd")
    return "\ufffd" not in asked and ("\ufffd" in rest or (not rest and bool(stripped)))


def nan_share(text: str, words: frozenset[str]) -> float:
    """Return the share of words that are a not-a-number."""
    said = [word.strip(",;:[](){}\"'.") for word in text.casefold().split()]
    said = [word for word in said if word]
    return sum(word in words for word in said) / len(said) if said else 0.0


def unique_characters(text: str) -> tuple[int, int]:
    """Return how many characters there are, and how many different ones; blanks are not counted."""
    seen = Counter(character for character in text if not character.isspace())
    return seen.total(), len(seen)


def entropy_bits(text: str) -> float:
    """Return the Shannon entropy of the characters but blanks, in bits a character."""
    seen = Counter(character for character in text if not character.isspace())
    total = seen.total()
    return -sum(count / total * math.log2(count / total) for count in seen.values())


def is_only_punctuation(text: str) -> bool:
    """Whether it holds no letter, no digit and no symbol such as an emoji."""
    return not any(
        unicodedata.category(character)[0] in "LN"
        or unicodedata.category(character) in {"So", "Sm"}
        for character in text
    )


# Byte-level tokens that were never decoded: the blank of GPT-2, the blank of SentencePiece, a byte.
_UNDECODED = re.compile(
    "(?<=\\S)[\u0120\u010a]|[\u0120\u010a](?=[\\d\\W])|\u2581(?=[^\\W_])|<0x[0-9A-Fa-f]{2}>"
)


def mojibake_share(text: str) -> float:
    """Return the share of characters, blanks left out, that are UTF-8 decoded with a wrong table.

    Tables: Windows-1252, and the printable stand-ins for bytes of byte-level tokenizers. Tokens
    that were never decoded count too.
    """
    total = sum(not character.isspace() for character in text)
    if not total:
        return 0.0
    bad = sum(match.end() - match.start() for match in _UNDECODED.finditer(text))
    return (bad + max(_misread(text, table) for table in _tables())) / total


@cache
def _tables() -> tuple[dict[str, int], ...]:
    """Return character to byte of each wrong table, for bytes from 0x80 on."""
    windows = {}
    for byte in range(0x80, 0x100):
        try:
            windows[bytes([byte]).decode("cp1252")] = byte
        except UnicodeDecodeError:
            windows[chr(byte)] = byte
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in shown]
    byte_level = {chr(byte): byte for byte in shown if byte >= 0x80}
    byte_level |= {chr(0x100 + at): byte for at, byte in enumerate(hidden) if byte >= 0x80}
    return windows, byte_level


def _misread(text: str, table: dict[str, int]) -> int:
    """Count the characters that, read back through the table, are multi-byte UTF-8."""
    found: list[tuple[int, int, bool]] = []
    at = 0
    while at < len(text):
        length = _sequence_length(table.get(text[at], 0))
        bytes_there = [table.get(character, 0) for character in text[at : at + length]]
        if length < 2 or len(bytes_there) < length or not _decodes(bytes_there):
            at += 1
            continue
        # "CAFÉ…" also reads as one sequence: two bytes alone must begin as accented letters do.
        found.append((at, at + length, length > 2 or bytes_there[0] in {0xC2, 0xC3}))
        at += length
    starts = {start for start, _, _ in found}
    ends = {end for _, end, _ in found}
    return sum(end - start for start, end, sure in found if sure or start in ends or end in starts)


def _sequence_length(lead: int) -> int:
    if 0xC2 <= lead <= 0xDF:
        return 2
    if 0xE0 <= lead <= 0xEF:
        return 3
    return 4 if 0xF0 <= lead <= 0xF4 else 0


def _decodes(values: list[int]) -> bool:
    try:
        bytes(values).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
