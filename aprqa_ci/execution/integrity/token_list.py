"""The tokens of a tokenizer in the order of their ids, from any kind of tokenizer file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError

__all__ = ["TokenList", "token_list_of_directory", "token_list_of_metadata"]

_MAX_ID = 1 << 22
"""Far above any vocabulary; keeps what a hostile file can make us hold small."""
_METADATA = "the GGUF metadata"
_UNUSED = 5
"""The token type by which GGUF files mark rows that only fill the embedding up."""
_MARKED = {2: True, 3: True, 4: False}
"""The token types of tokens that are no text: unknown, control, user-defined; which are special."""


@dataclass(frozen=True, kw_only=True)
class TokenList:
    """The tokens by id. Ids may have gaps."""

    source: str
    tokens: Mapping[int, str]
    padding: frozenset[int] = frozenset()
    """Ids of entries that are no tokens and only fill the embedding up."""
    merges: tuple[str, ...] | None = None
    """The merges of a byte-pair encoding, ``left right``, best first; absent for other kinds."""
    added: Mapping[int, bool] = field(default_factory=dict)
    """The tokens that are looked for before the text is cut into others, and whether each is
    special: hidden in answers, and plain text where a user writes it. Empty where nothing is
    marked."""

    @property
    def rows_needed(self) -> int:
        """How many rows an embedding needs to have one for each token."""
        return max((index for index in self.tokens if index not in self.padding), default=-1) + 1


def token_list_of_directory(directory: Path) -> TokenList:
    """Read the tokens of tokenizer.json.

    Raises:
        FormatError: it is missing or damaged.
        UnsupportedFormatError: there is a tokenizer of a kind that is not read here.
    """
    path = directory / "tokenizer.json"
    if not path.is_file():
        for other in ("tokenizer.model", "vocab.json", "vocab.txt"):
            if (directory / other).is_file():
                what = "the tokenizer is in a form that is not read here; tokenizer.json is missing"
                raise UnsupportedFormatError(directory / other, what)
        raise FormatError(path, "the tokenizer is missing")
    content = read_json_object(path)
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    tokens = _by_id(path, vocabulary)
    added = content.get("added_tokens") or []
    if not isinstance(added, list):
        raise FormatError(path, "added_tokens is not a list")
    marked: dict[int, bool] = {}
    for entry in added:
        index = entry.get("id") if isinstance(entry, dict) else None
        text = entry.get("content") if isinstance(entry, dict) else None
        if not _is_id(index) or not isinstance(text, str):
            raise FormatError(path, "an added token has no id or no content")
        tokens[index] = text
        marked[index] = entry.get("special") is True
    if not tokens:
        raise FormatError(path, "the tokenizer holds no token")
    merges = model.get("merges") if isinstance(model, dict) else None
    return TokenList(source=path.name, tokens=tokens, merges=_merges(path, merges), added=marked)


def token_list_of_metadata(metadata: Mapping[str, Any]) -> TokenList:
    """Read the tokens of a GGUF file.

    Raises:
        FormatError: they are missing or are not texts.
    """
    source = "tokenizer.ggml.tokens"
    tokens = metadata.get(source)
    if not isinstance(tokens, list) or not tokens:
        raise FormatError(_METADATA, f"{source} is missing")
    if len(tokens) > _MAX_ID:
        raise FormatError(_METADATA, f"{source} has {len(tokens)} entries, more than {_MAX_ID}")
    if not all(isinstance(token, str) for token in tokens):
        raise FormatError(_METADATA, f"{source} is not a list of texts")
    types = metadata.get("tokenizer.ggml.token_type")
    if types is not None and (not isinstance(types, list) or len(types) != len(tokens)):
        raise FormatError(
            _METADATA, "tokenizer.ggml.token_type does not have one entry for each token"
        )
    padding = frozenset(index for index, kind in enumerate(types or ()) if kind == _UNUSED)
    merges = _merges(_METADATA, metadata.get("tokenizer.ggml.merges"))
    return TokenList(
        source=source,
        tokens=dict(enumerate(tokens)),
        padding=padding,
        merges=merges,
        added={
            index: _MARKED[kind]
            for index, kind in enumerate(types or ())
            if isinstance(kind, int) and kind in _MARKED
        },
    )


def _by_id(path: Path, vocabulary: object) -> dict[int, str]:
    if isinstance(vocabulary, dict):
        if not all(_is_id(index) for index in vocabulary.values()):
            raise FormatError(path, "the vocabulary has an id that is not a whole number")
        tokens = {index: text for text, index in vocabulary.items()}
        if len(tokens) != len(vocabulary):
            raise FormatError(path, "two tokens of the vocabulary have the same id")
        return tokens
    if isinstance(vocabulary, list):
        # Unigram: pairs of token and score, in the order of their ids.
        if not all(
            isinstance(entry, list) and entry and isinstance(entry[0], str) for entry in vocabulary
        ):
            raise FormatError(path, "the vocabulary is not a list of tokens with scores")
        return {index: entry[0] for index, entry in enumerate(vocabulary)}
    raise FormatError(path, "the tokenizer has no vocabulary")


def _merges(source: Path | str, merges: object) -> tuple[str, ...] | None:
    """Read the merges in either spelling: ``"left right"`` or ``["left", "right"]``."""
    if not merges:
        return None
    if not isinstance(merges, list):
        raise FormatError(source, "the merges are not a list")
    texts = []
    for entry in merges:
        pair = " ".join(map(str, entry)) if isinstance(entry, list) else entry
        if not isinstance(pair, str):
            raise FormatError(source, "a merge is not a pair of texts")
        texts.append(pair)
    return tuple(texts)


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_ID
