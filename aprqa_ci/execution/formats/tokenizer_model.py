"""What a byte-level BPE tokenizer is made of, read from tokenizer.json or GGUF metadata."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.settings import brief
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError

__all__ = [
    "AddedToken",
    "TokenizerModel",
    "pre_tokenizer_json",
    "read_gguf_tokenizer",
    "read_tokenizer_directory",
]

_MAX_TOKENS = 1 << 24
_MAX_ADDED_CHARACTERS = 512

_LLAMA3_START = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
)
_SPLIT_PATTERNS = {
    r"\p{N}{1,3}".join(_LLAMA3_START): "llama-bpe",
    r"\p{N}".join(_LLAMA3_START): "qwen2",
}
# The names under which llama.cpp applies the same rules.
_PRE_NAMES = {
    "gpt-2": "gpt-2",
    "smollm": "smollm",
    "qwen2": "qwen2",
    "deepseek-r1-qwen": "qwen2",
    "llama-bpe": "llama-bpe",
    "llama3": "llama-bpe",
    "llama-v3": "llama-bpe",
}

_NORMAL, _CONTROL, _USER_DEFINED, _UNUSED = 1, 3, 4, 5


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token that is looked for in the text before anything else."""

    content: str
    special: bool
    """Whether it is a control token: hidden in answers, and text where control is not wanted."""


@dataclass(frozen=True, kw_only=True)
class TokenizerModel:
    """Everything that encoding and decoding need."""

    tokens: Sequence[str | None]
    """By id; the holes of a sparse vocabulary are absent."""
    added: Mapping[int, AddedToken]
    merges: Sequence[str]
    """``left right``, best first."""
    pre: str
    """How text is cut into words, by llama.cpp's name; see :mod:`.byte_level`."""
    nfc: bool = False
    """Whether text is brought into Unicode normal form C first."""
    ignore_merges: bool = False
    """Whether a word that is a token is taken whole, without merging."""
    add_bos: bool = False
    """Whether a text begins with the beginning-of-text token."""
    bos_id: int | None = None
    eos_id: int | None = None
    pad_id: int | None = None
    unknown_id: int | None = None


def read_tokenizer_directory(directory: Path) -> TokenizerModel:
    """Read ``tokenizer.json`` and, where it is there, ``tokenizer_config.json``.

    Raises:
        FormatError: tokenizer.json is missing or damaged.
        UnsupportedFormatError: it is not a byte-level BPE of a kind known here.
    """
    path = directory / "tokenizer.json"
    content = read_json_object(path)
    model = content.get("model")
    if not isinstance(model, dict):
        raise FormatError(path, "there is no model in it")
    _refuse_unknown_kind(path, content, model)
    added = _added_tokens(path, content.get("added_tokens") or [])
    vocabulary = _vocabulary(path, model.get("vocab"))
    tokens = _token_table(path, vocabulary, added)
    by_content = vocabulary | {token.content: number for number, token in added.items()}
    names = _special_names(directory)
    prefix = _prefix_token(path, content.get("post_processor"))
    return TokenizerModel(
        tokens=tokens,
        added=added,
        merges=_merges(path, model.get("merges"), vocabulary),
        pre=_pre_tokenizer(path, content.get("pre_tokenizer")),
        nfc=_is_nfc(path, content.get("normalizer")),
        ignore_merges=model.get("ignore_merges") is True,
        add_bos=prefix is not None,
        bos_id=by_content.get(prefix or names.get("bos_token", "")),
        eos_id=by_content.get(names.get("eos_token", "")),
        pad_id=by_content.get(names.get("pad_token", "")),
        unknown_id=by_content.get(str(model.get("unk_token"))),
    )


def read_gguf_tokenizer(
    metadata: Mapping[str, Any], source: Path | str = "GGUF metadata"
) -> TokenizerModel:
    """Read the tokenizer in the metadata of a GGUF file.

    Raises:
        FormatError: a part is missing or damaged.
        UnsupportedFormatError: it is not a byte-level BPE of a kind known here.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if kind is None:
        raise FormatError(source, "tokenizer.ggml.model is missing: there is no tokenizer")
    if kind != "gpt2":
        raise UnsupportedFormatError(
            source, f"the tokenizer kind {brief(kind)} is not known here (known: gpt2)"
        )
    pre = metadata.get("tokenizer.ggml.pre", "default")
    if not isinstance(pre, str) or pre not in _PRE_NAMES:
        raise UnsupportedFormatError(
            source,
            f"the pre-tokenizer {brief(pre)} is not known here (known: {', '.join(_PRE_NAMES)})",
        )
    texts = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise FormatError(source, "tokenizer.ggml.tokens is missing or not a list of texts")
    ids = {
        key: _id(metadata.get(f"tokenizer.ggml.{name}_token_id"), len(texts))
        for key, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))
    }
    types = metadata.get("tokenizer.ggml.token_type")
    if types is None:
        controls = set(ids.values())
        types = [_CONTROL if number in controls else _NORMAL for number in range(len(texts))]
    if not isinstance(types, list) or len(types) != len(texts):
        raise FormatError(source, "tokenizer.ggml.token_type has not one type for each token")
    added = {
        number: AddedToken(content=texts[number], special=kind == _CONTROL)
        for number, kind in enumerate(types)
        if kind in (_CONTROL, _USER_DEFINED)
    }
    _check_added(source, added)
    tokens = [None if types[number] == _UNUSED else text for number, text in enumerate(texts)]
    vocabulary = {text: number for number, text in enumerate(tokens) if text is not None}
    llama3 = _PRE_NAMES[pre] == "llama-bpe"
    return TokenizerModel(
        tokens=tokens,
        added=added,
        merges=_merges(source, metadata.get("tokenizer.ggml.merges"), vocabulary),
        pre=_PRE_NAMES[pre],
        # llama.cpp has these two as properties of the Llama 3 rules.
        ignore_merges=llama3,
        add_bos=metadata.get("tokenizer.ggml.add_bos_token", llama3) is True,
        bos_id=ids["bos"],
        eos_id=ids["eos"],
        pad_id=ids["pad"],
        # llama.cpp has no use for tokenizer.ggml.unknown_token_id in a BPE either.
        unknown_id=None,
    )


def pre_tokenizer_json(pre: str) -> dict[str, Any]:
    """Return the ``pre_tokenizer`` of a tokenizer.json for one of llama.cpp's names."""
    pattern = next((text for text, name in _SPLIT_PATTERNS.items() if name == pre), None)
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": pattern is None,
    }
    if pattern is not None:
        split = {
            "type": "Split",
            "pattern": {"Regex": pattern},
            "behavior": "Isolated",
            "invert": False,
        }
        return {"type": "Sequence", "pretokenizers": [split, byte_level]}
    if pre == "smollm":
        digits = {"type": "Digits", "individual_digits": True}
        return {"type": "Sequence", "pretokenizers": [digits, byte_level]}
    return byte_level


def _refuse_unknown_kind(path: Path, content: dict[str, Any], model: dict[str, Any]) -> None:
    kind = model.get("type", "BPE")
    if kind != "BPE":
        raise UnsupportedFormatError(
            path, f"the tokenizer kind {brief(kind)} is not known here (known: byte-level BPE)"
        )
    for key in ("byte_fallback", "continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            raise UnsupportedFormatError(path, f"a BPE with {key} is not byte-level BPE")
    decoder = content.get("decoder")
    if not isinstance(decoder, dict) or decoder.get("type") != "ByteLevel":
        raise UnsupportedFormatError(path, f"the decoder {brief(decoder)} is not known here")


def _pre_tokenizer(path: Path, spec: object) -> str:
    """Name the pre-tokenizer by its structure."""
    steps = (
        spec.get("pretokenizers") if isinstance(spec, dict) and "pretokenizers" in spec else [spec]
    )
    if isinstance(steps, list) and all(isinstance(step, dict) for step in steps):
        *before, last = steps or [{}]
        if last.get("type") == "ByteLevel" and not last.get("add_prefix_space", True):
            by_regex = last.get("use_regex", True)
            if by_regex and not before:
                return "gpt-2"
            first = before[0] if len(before) == 1 else {}
            if by_regex and first.get("type") == "Digits" and first.get("individual_digits"):
                return "smollm"
            pattern = first.get("pattern")
            if (
                not by_regex
                and first.get("type") == "Split"
                and first.get("behavior") == "Isolated"
                and not first.get("invert")
                and isinstance(pattern, dict)
                and pattern.get("Regex") in _SPLIT_PATTERNS
            ):
                return _SPLIT_PATTERNS[pattern["Regex"]]
    raise UnsupportedFormatError(path, f"the pre-tokenizer {brief(spec)} is not known here")


def _is_nfc(path: Path, normalizer: object) -> bool:
    if normalizer is None:
        return False
    if normalizer == {"type": "NFC"}:
        return True
    raise UnsupportedFormatError(path, f"the normalizer {brief(normalizer)} is not known here")


def _prefix_token(path: Path, processor: object) -> str | None:
    """Return the token that the post-processor puts before a text, or nothing."""
    steps: list[Any] = [processor]
    if isinstance(processor, dict) and processor.get("type") == "Sequence":
        steps = list(processor.get("processors") or [])
    found: list[str] = []
    for step in steps:
        if step is None or (isinstance(step, dict) and step.get("type") == "ByteLevel"):
            continue
        template = step.get("single") if isinstance(step, dict) else None
        if not isinstance(template, list) or step.get("type") != "TemplateProcessing":
            raise UnsupportedFormatError(
                path, f"the post-processor {brief(step)} is not known here"
            )
        ids = [
            entry["SpecialToken"].get("id")
            for entry in template
            if isinstance(entry, dict) and isinstance(entry.get("SpecialToken"), dict)
        ]
        if len(ids) + 1 != len(template) or not template or "Sequence" not in template[-1]:
            raise UnsupportedFormatError(path, "a post-processor that adds tokens after the text")
        found += ids
    if len(found) > 1:
        raise UnsupportedFormatError(path, f"a text that begins with {brief(found)}")
    return found[0] if found else None


def _added_tokens(path: Path, entries: object) -> dict[int, AddedToken]:
    added: dict[int, AddedToken] = {}
    if not isinstance(entries, list):
        raise FormatError(path, "added_tokens is not a list")
    for entry in entries:
        number = _id(entry.get("id"), _MAX_TOKENS) if isinstance(entry, dict) else None
        content = entry.get("content") if isinstance(entry, dict) else None
        if number is None or not isinstance(content, str):
            raise FormatError(path, f"the added token {brief(entry)} has no id and content")
        for key in ("single_word", "lstrip", "rstrip"):
            if entry.get(key):
                raise UnsupportedFormatError(path, f"added token {brief(content)} with {key}")
        added[number] = AddedToken(content=content, special=entry.get("special") is True)
    _check_added(path, added)
    return added


def _check_added(source: Path | str, added: Mapping[int, AddedToken]) -> None:
    for number, token in added.items():
        if not 1 <= len(token.content) <= _MAX_ADDED_CHARACTERS:
            raise FormatError(
                source,
                f"added token {number} has {len(token.content)} characters, not 1 to"
                f" {_MAX_ADDED_CHARACTERS}",
            )


def _vocabulary(path: Path, entries: object) -> dict[str, int]:
    if not isinstance(entries, dict) or not entries:
        raise FormatError(path, "the model has no vocab")
    for text, number in entries.items():
        if _id(number, _MAX_TOKENS) is None:
            raise FormatError(path, f"token {brief(text)} has the impossible id {brief(number)}")
    return entries


def _token_table(
    path: Path, vocabulary: Mapping[str, int], added: Mapping[int, AddedToken]
) -> list[str | None]:
    """Return the tokens by id; two tokens with one id cannot be told apart when decoding."""
    size = 1 + max(*vocabulary.values(), *added, 0)
    if size > 4 * (len(vocabulary) + len(added)) + 1024:
        raise FormatError(path, f"the ids go up to {size - 1} for {len(vocabulary)} tokens")
    tokens: list[str | None] = [None] * size
    for text, number in vocabulary.items():
        if tokens[number] is not None:
            raise FormatError(path, f"{brief(tokens[number])} and {brief(text)} share id {number}")
        tokens[number] = text
    for number, token in added.items():
        tokens[number] = token.content
    return tokens


def _merges(source: Path | str, entries: object, vocabulary: Mapping[str, int]) -> list[str]:
    if not isinstance(entries, list):
        raise FormatError(source, "there is no list of merges")
    merges: list[str] = []
    for entry in entries:
        # Newer files have pairs, older ones and GGUF one text with a blank.
        is_pair = isinstance(entry, list) and all(isinstance(part, str) for part in entry)
        merge = " ".join(entry) if is_pair else entry
        left, _, right = merge.partition(" ") if isinstance(merge, str) else ("", "", "")
        if not (left and right) or " " in right or left + right not in vocabulary:
            raise FormatError(source, f"the merge {brief(entry)} does not make a token")
        merges.append(merge)
    return merges


def _special_names(directory: Path) -> dict[str, str]:
    """Return the names of the special tokens that tokenizer_config.json declares."""
    path = directory / "tokenizer_config.json"
    names: dict[str, str] = {}
    for key, value in (read_json_object(path) if path.exists() else {}).items():
        content = value.get("content") if isinstance(value, dict) else value
        if isinstance(content, str):
            names[key] = content
    return names


def _id(value: object, limit: int) -> int | None:
    """Return a token id below ``limit``, or nothing."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < limit:
        return value
    return None
