"""Byte-level BPE: text to token ids and back.

Sentencepiece and unigram tokenizers are refused by name.
"""

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aprqa_ci.execution.formats.bpe import BytePairMerger
from aprqa_ci.execution.formats.byte_level import bytes_of_symbols, split_words, symbols_of
from aprqa_ci.execution.formats.tokenizer_model import (
    TokenizerModel,
    read_gguf_tokenizer,
    read_tokenizer_directory,
)

__all__ = ["StreamingDecoder", "Tokenizer", "load_tokenizer", "tokenizer_from_gguf"]


class Tokenizer:
    """Encodes text and decodes token ids.

    Args:
        model: what the tokenizer is made of.
    """

    def __init__(self, model: TokenizerModel) -> None:
        self.model = model
        vocabulary = {
            text: number
            for number, text in enumerate(model.tokens)
            if text is not None and number not in model.added
        }
        self._merger = BytePairMerger(
            vocabulary,
            model.merges,
            whole_words=model.ignore_merges,
            unknown_id=model.unknown_id,
        )
        self.special_ids: frozenset[int] = frozenset(
            number for number, token in model.added.items() if token.special
        )
        """The ids of control tokens."""
        texts = {token.content: number for number, token in model.added.items()}
        self._every_added = _AddedTokenFinder(texts)
        self._plain_added = _AddedTokenFinder(
            {text: number for text, number in texts.items() if number not in self.special_ids}
        )

    @property
    def vocab_size(self) -> int:
        """One more than the highest token id."""
        return len(self.model.tokens)

    def encode(self, text: str, *, parse_special: bool = True) -> list[int]:
        """Return the token ids of a text, without a beginning-of-text token.

        Args:
            text: any text. A lone surrogate, which no UTF-8 can spell, reads as U+FFFD.
            parse_special: whether control tokens such as ``<|im_end|>`` are recognised; otherwise
                they are text like any other. Added tokens that are not control always are.
        """
        text = _without_surrogates(text)
        finder = self._every_added if parse_special else self._plain_added
        ids: list[int] = []
        for part in finder.split(text):
            if isinstance(part, int):
                ids.append(part)
                continue
            part_text = unicodedata.normalize("NFC", part) if self.model.nfc else part
            for word in split_words(part_text, self.model.pre):
                ids += self._merger.token_ids(symbols_of(word))
        return ids

    def token_bytes(self, token: int, *, skip_special: bool = True) -> bytes:
        """Return the bytes that a token spells; an id without a token spells none."""
        if not 0 <= token < len(self.model.tokens):
            return b""
        if token in self.model.added:
            hidden = skip_special and token in self.special_ids
            return b"" if hidden else self.model.added[token].content.encode("utf-8", "replace")
        return bytes_of_symbols(self.model.tokens[token] or "")

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:  # noqa: FBT001, FBT002 - the name that every tokenizer library gives it
        """Return the text of token ids; bytes that are not UTF-8 become U+FFFD."""
        data = b"".join(self.token_bytes(token, skip_special=skip_special) for token in ids)
        return data.decode("utf-8", "replace")

    def stream(self, *, skip_special: bool = True) -> "StreamingDecoder":
        """Return a decoder that takes tokens one by one."""
        return StreamingDecoder(self, skip_special=skip_special)


class StreamingDecoder:
    """Decodes an answer while it is made, and never gives half a character."""

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        """Return the whole characters that this token completes."""
        data = self._tokenizer.token_bytes(token, skip_special=self._skip_special)
        return self._decoder.decode(data)

    def end(self) -> str:
        """Return what an unfinished character at the end amounts to."""
        return self._decoder.decode(b"", final=True)


class _AddedTokenFinder:
    """Finds added tokens in a text, leftmost first, the longest where several begin."""

    def __init__(self, tokens: Mapping[str, int]) -> None:
        self._tokens = tokens
        lengths: dict[str, set[int]] = {}
        for text in tokens:
            lengths.setdefault(text[0], set()).add(len(text))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}
        firsts = "".join(re.escape(first) for first in lengths)
        self._first = re.compile(f"[{firsts}]") if firsts else None

    def split(self, text: str) -> Iterator[str | int]:
        """Yield the stretches of text between added tokens, and the tokens' ids."""
        start = position = 0
        while self._first is not None and (found := self._first.search(text, position)):
            position = found.start()
            for length in self._lengths[text[position]]:
                token = self._tokens.get(text[position : position + length])
                if token is not None:
                    if position > start:
                        yield text[start:position]
                    yield token
                    start = position = position + length
                    break
            else:
                position += 1
        if start < len(text):
            yield text[start:]


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load the tokenizer of a model directory.

    Raises:
        FormatError: tokenizer.json is missing or damaged.
        UnsupportedFormatError: it is not a byte-level BPE of a kind known here.
    """
    return Tokenizer(read_tokenizer_directory(directory))


def tokenizer_from_gguf(
    metadata: Mapping[str, Any], source: Path | str = "GGUF metadata"
) -> Tokenizer:
    """Make the tokenizer that the metadata of a GGUF file describe.

    Raises:
        FormatError: a part is missing or damaged.
        UnsupportedFormatError: it is not a byte-level BPE of a kind known here.
    """
    return Tokenizer(read_gguf_tokenizer(metadata, source))


def _without_surrogates(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Pairs become the character they stand for; JSON from elsewhere may spell it that way.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
