"""Writing a byte-level BPE tokenizer as tokenizer.json and tokenizer_config.json."""

from typing import Any

from aprqa_ci.execution.formats.tokenizer_model import TokenizerModel, pre_tokenizer_json

__all__ = ["tokenizer_config_json", "tokenizer_json"]

_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}


def tokenizer_json(model: TokenizerModel) -> dict[str, Any]:
    """Return the content of a tokenizer.json that encodes and decodes as ``model`` does."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token.content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": token.special,
            }
            for number, token in sorted(model.added.items())
        ],
        "normalizer": {"type": "NFC"} if model.nfc else None,
        "pre_tokenizer": pre_tokenizer_json(model.pre),
        "post_processor": _beginning(model),
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": _text(model, model.unknown_id),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": model.ignore_merges,
            "vocab": {text: number for number, text in enumerate(model.tokens) if text is not None},
            "merges": list(model.merges),
        },
    }


def tokenizer_config_json(model: TokenizerModel, chat_template: str | None) -> dict[str, Any]:
    """Return the content of the tokenizer_config.json that goes with it."""
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": model.add_bos,
        "clean_up_tokenization_spaces": False,
    }
    for name, number in (("bos", model.bos_id), ("eos", model.eos_id), ("pad", model.pad_id)):
        text = _text(model, number)
        if text is not None:
            config[f"{name}_token"] = text
    if chat_template is not None:
        config["chat_template"] = chat_template
    return config


def _beginning(model: TokenizerModel) -> dict[str, Any] | None:
    """Return the post-processor that puts the beginning token before a text."""
    text = _text(model, model.bos_id)
    if not model.add_bos or text is None:
        return None
    begin = {"SpecialToken": {"id": text, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [begin, first],
        "pair": [begin, first, second],
        "special_tokens": {text: {"id": text, "ids": [model.bos_id], "tokens": [text]}},
    }


def _text(model: TokenizerModel, number: int | None) -> str | None:
    return None if number is None else model.tokens[number]
