"""Which tokens everything beside the weights names as special, and whether they are such."""

from collections.abc import Iterator, Mapping
from typing import Any

from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.integrity.claims import ids_of
from aprqa_ci.execution.integrity.subject import Subject

__all__ = ["SPECIAL_TOKENS", "end_tokens", "named_special_tokens", "special_token_problems"]

SPECIAL_TOKENS = ("bos", "eos", "pad", "unk")
_NAMES = tuple(f"{name}_token" for name in (*SPECIAL_TOKENS, "sep", "cls", "mask"))
_SETTINGS, _SPECIAL_MAP = "tokenizer_config.json", "special_tokens_map.json"
_GGUF_ENDS = ("eos", "eot", "eom")
_LLAMACPP_ENDS = frozenset(
    {
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|eot|>",
        "<end_of_turn>",
        "<EOT>",
        "_<EOT>",
        "<end_of_utterance>",
        "<｜end▁of▁sentence｜>",  # noqa: RUF001 - DeepSeek writes it so
    }
)
"""The tokens at which llama.cpp ends an answer by their text: a GGUF file has room for few end
tokens where generation_config.json has a list."""


def named_special_tokens(subject: Subject) -> dict[str, frozenset[int]]:
    """Gather the special tokens of SafeTensors from everything beside them that names one.

    The three files often disagree among themselves: engines and converters may follow any of them.

    Raises:
        FormatError: one of the files beside config.json is damaged.
    """
    generation = _optional(subject, "generation_config.json")
    texts = _optional(subject, _SETTINGS)
    by_text = {text: index for index, text in subject.token_list.tokens.items()}
    try:
        claimed = subject.claims.special_tokens
    except FormatError:
        # A config.json that cannot be read has gates of its own.
        claimed = {}
    found = {}
    for name in SPECIAL_TOKENS:
        ids = set(claimed.get(name, ()))
        ids |= ids_of(generation.get(f"{name}_token_id"))
        text = _content(texts.get(f"{name}_token"))
        if text is not None and text in by_text:
            ids.add(by_text[text])
        found[name] = frozenset(ids)
    return found


def end_tokens(subject: Subject) -> frozenset[int]:
    """Return every token at which an answer ends by anything that the files declare."""
    if not subject.is_gguf:
        return named_special_tokens(subject)["eos"]
    metadata, tokens = subject.weights.metadata, subject.token_list
    ends = {metadata.get(f"tokenizer.ggml.{name}_token_id") for name in _GGUF_ENDS}
    ends |= {index for index in tokens.added if tokens.tokens[index] in _LLAMACPP_ENDS}
    return frozenset(end for end in ends if isinstance(end, int))


def special_token_problems(subject: Subject) -> list[str]:
    """Return what is said to be special, or to end answers, and is text like any other.

    An ordinary token that ends answers cuts them wherever it occurs. A token of control that is
    not marked as one shows in answers, and a user can write it. What only some files mark, like
    the turns of DeepSeek or the thoughts of Qwen3, is left to the model's author: a token must be
    special where one of the files says so by its name.
    """
    tokens = subject.token_list
    if not tokens.added:
        return []
    problems = [
        f"the end token {index} is the ordinary token {tokens.tokens[index]!r}"
        for index in sorted(end_tokens(subject))
        if index in tokens.tokens and index not in tokens.added
    ]
    if subject.is_gguf:
        return problems
    ids = {tokens.tokens[index]: index for index in tokens.added}
    problems += [
        f"{source} calls {text!r} special, and {tokens.source} does not"
        for text, source in sorted(dict(_named_texts(subject)).items())
        if text in ids and not tokens.added[ids[text]]
    ]
    return problems


def _named_texts(subject: Subject) -> Iterator[tuple[str, str]]:
    for source in (_SPECIAL_MAP, _SETTINGS):
        content = _optional(subject, source)
        more = content.get("additional_special_tokens")
        for value in (
            *(content.get(name) for name in _NAMES),
            *(more if isinstance(more, list) else ()),
        ):
            text = _content(value)
            if text is not None:
                yield text, source


def _content(value: object) -> str | None:
    """Return a token's text, written as it is or as an object with ``content``."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and text else None


def _optional(subject: Subject, name: str) -> Mapping[str, Any]:
    path = subject.files.directory / name
    return read_json_object(path) if path.is_file() else {}
