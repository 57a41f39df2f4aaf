import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.formats.tokenizer_model import (
    pre_tokenizer_json,
    read_gguf_tokenizer,
    read_tokenizer_directory,
)
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from tests.tiny_llama import MERGES, SPECIAL_TOKENS

Change = Callable[[dict[str, Any]], None]
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<|endoftext|>"}}, {"Sequence": {"id": "A"}}],
}


@pytest.fixture
def changed(tiny_llama: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Writes the tiny tokenizer with a change to its tokenizer.json."""

    def changed(change: Change) -> Path:
        content = json.loads((tiny_llama / "tokenizer.json").read_text(encoding="utf-8"))
        change(content)
        (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return changed


def gguf_metadata(**changes: Any) -> dict[str, Any]:
    """Metadata of a tokenizer with three tokens and a control token."""
    metadata = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": ["a", "b", "ab", "<|end|>", "[PAD4]", "<tool>"],
        "token_type": [1, 1, 1, 3, 5, 4],
        "merges": ["a b"],
        "bos_token_id": 3,
        "eos_token_id": 3,
        **changes,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in metadata.items() if value is not None}


def test_a_directory_is_read(tiny_llama: Path) -> None:
    model = read_tokenizer_directory(tiny_llama)
    assert model.tokens[:4] == [*SPECIAL_TOKENS, "Ā"]
    assert len(model.tokens) == 3 + 256 + len(MERGES)
    assert {token.content: token.special for token in model.added.values()} == dict.fromkeys(
        SPECIAL_TOKENS, True
    )
    assert tuple(model.merges) == MERGES
    assert (model.pre, model.nfc, model.ignore_merges, model.add_bos) == (
        "smollm",
        False,
        False,
        False,
    )
    assert (model.bos_id, model.eos_id, model.pad_id, model.unknown_id) == (0, 2, 0, None)


def test_without_a_tokenizer_config_there_are_no_special_roles(
    changed: Callable[[Change], Path],
) -> None:
    model = read_tokenizer_directory(changed(_top()))
    assert (model.bos_id, model.eos_id) == (None, None)


def test_special_tokens_may_be_objects(changed: Callable[[Change], Path]) -> None:
    directory = changed(_top())
    config = {"eos_token": {"content": "<|im_end|>"}, "bos_token": None}
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    model = read_tokenizer_directory(directory)
    assert (model.bos_id, model.eos_id) == (None, 2)


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "qwen2", "llama-bpe"])
def test_pre_tokenizers_are_known_by_their_structure(
    changed: Callable[[Change], Path], pre: str
) -> None:
    directory = changed(lambda content: content.update(pre_tokenizer=pre_tokenizer_json(pre)))
    assert read_tokenizer_directory(directory).pre == pre


def test_settings_of_other_families(changed: Callable[[Change], Path]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["normalizer"] = {"type": "NFC"}
        content["model"]["ignore_merges"] = True
        content["model"]["unk_token"] = "<|endoftext|>"
        content["model"]["merges"] = [merge.split(" ") for merge in MERGES]
        content["post_processor"] = {
            "type": "Sequence",
            "processors": [{"type": "ByteLevel"}, TEMPLATE],
        }
        content["added_tokens"].append({"id": 400, "content": "<tool>", "special": False})

    model = read_tokenizer_directory(changed(change))
    assert (model.nfc, model.ignore_merges, model.add_bos) == (True, True, True)
    assert (model.bos_id, model.unknown_id) == (0, 0)
    assert tuple(model.merges) == MERGES
    assert len(model.tokens) == 401
    assert model.tokens[399] is None
    assert model.tokens[400] == "<tool>"
    assert not model.added[400].special


def _model(**settings: Any) -> Change:
    return lambda content: content["model"].update(settings)


def _top(**settings: Any) -> Change:
    return lambda content: content.update(settings)


def _added(**settings: Any) -> Change:
    return lambda content: content["added_tokens"][0].update(settings)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_model(type="Unigram"), "kind 'Unigram'"),
        (_model(type="WordPiece"), "kind 'WordPiece'"),
        (_model(byte_fallback=True), "byte_fallback"),
        (_model(end_of_word_suffix="</w>"), "end_of_word_suffix"),
        (_model(dropout=0.1), "dropout"),
        (_top(decoder={"type": "Metaspace"}), "decoder"),
        (_top(decoder=None), "decoder None"),
        (_top(normalizer={"type": "Lowercase"}), "normalizer"),
        (_top(pre_tokenizer=None), "pre-tokenizer None"),
        (_top(pre_tokenizer={"type": "Whitespace"}), "pre-tokenizer"),
        (_top(pre_tokenizer={"type": "Sequence", "pretokenizers": []}), "pre-tokenizer"),
        (_top(pre_tokenizer={"type": "Sequence", "pretokenizers": 5}), "pre-tokenizer"),
        (_top(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True}), "pre-tokenizer"),
        (
            _top(
                pre_tokenizer={
                    "type": "Sequence",
                    "pretokenizers": [
                        {"type": "Split", "behavior": "Isolated", "pattern": {"Regex": "x"}},
                        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
                    ],
                }
            ),
            "pre-tokenizer",
        ),
        (_top(post_processor={"type": "Bert"}), "post-processor"),
        (_top(post_processor={**TEMPLATE, "single": TEMPLATE["single"][::-1]}), "after the text"),
        (_top(post_processor={**TEMPLATE, "single": []}), "after the text"),
        (
            _top(
                post_processor={**TEMPLATE, "single": [TEMPLATE["single"][0], *TEMPLATE["single"]]}
            ),
            "begins with",
        ),
        (_added(lstrip=True), "lstrip"),
        (_added(single_word=True), "single_word"),
    ],
)
def test_other_kinds_are_refused_by_name(
    changed: Callable[[Change], Path], change: Change, what: str
) -> None:
    directory = changed(change)
    with pytest.raises(UnsupportedFormatError, match=what) as caught:
        read_tokenizer_directory(directory)
    assert str(directory) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_top(model=None), "no model"),
        (_model(vocab=None), "no vocab"),
        (_model(vocab={}), "no vocab"),
        (_model(vocab={"a": "1"}), "impossible id '1'"),
        (_model(vocab={"a": -1}), "impossible id -1"),
        (_model(vocab={"a": 1 << 40}), "impossible id"),
        (_model(vocab={"a": 1 << 20}), "ids go up to"),
        (_model(vocab={"a": 1, "b": 1}, merges=[]), "'a' and 'b' share id 1"),
        (_model(merges=None), "no list of merges"),
        (_model(merges=["t"]), "merge 't'"),
        (_model(merges=["t h e"]), "merge 't h e'"),
        (_model(merges=[" th"]), "merge ' th'"),
        (_model(merges=["q q"]), "merge 'q q'"),
        (_model(merges=[["t", 5]]), "merge"),
        (_model(merges=[5]), "merge 5"),
        (_top(added_tokens={"a": 1}), "not a list"),
        (_top(added_tokens=["x"]), "no id and content"),
        (_added(id=True), "no id and content"),
        (_added(content=""), "0 characters"),
        (_added(content="x" * 600), "600 characters"),
    ],
)
def test_damage_is_named(changed: Callable[[Change], Path], change: Change, what: str) -> None:
    with pytest.raises(FormatError, match=what) as caught:
        read_tokenizer_directory(changed(change))
    assert not isinstance(caught.value, UnsupportedFormatError)


def test_a_missing_tokenizer_is_damage(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"tokenizer\.json: there is no such file"):
        read_tokenizer_directory(tmp_path)


def test_gguf_metadata_are_read() -> None:
    model = read_gguf_tokenizer(gguf_metadata(padding_token_id=4))
    assert model.tokens == ["a", "b", "ab", "<|end|>", None, "<tool>"]
    assert {number: token.special for number, token in model.added.items()} == {3: True, 5: False}
    assert (model.pre, model.merges, model.add_bos, model.ignore_merges) == (
        "gpt-2",
        ["a b"],
        False,
        False,
    )
    assert (model.bos_id, model.eos_id, model.pad_id, model.unknown_id) == (3, 3, 4, None)


def test_llama3_rules_bring_their_habits() -> None:
    model = read_gguf_tokenizer(gguf_metadata(pre="llama3"))
    assert (model.pre, model.ignore_merges, model.add_bos) == ("llama-bpe", True, True)
    assert not read_gguf_tokenizer(gguf_metadata(pre="llama-bpe", add_bos_token=False)).add_bos
    assert read_gguf_tokenizer(gguf_metadata(add_bos_token=True)).add_bos


def test_without_types_the_special_ids_are_control() -> None:
    model = read_gguf_tokenizer(gguf_metadata(token_type=None, unknown_token_id=99))
    assert set(model.added) == {3}


@pytest.mark.parametrize(
    ("changes", "what", "unsupported"),
    [
        ({"model": None}, "there is no tokenizer", False),
        ({"model": "llama"}, "kind 'llama'", True),
        ({"model": "t5"}, "kind 't5'", True),
        ({"pre": None}, "pre-tokenizer 'default'", True),
        ({"pre": "gemma4"}, "pre-tokenizer 'gemma4'", True),
        ({"pre": [1]}, "pre-tokenizer", True),
        ({"tokens": None}, "tokens is missing", False),
        ({"tokens": [1]}, "not a list of texts", False),
        ({"token_type": [1]}, "not one type for each", False),
        ({"token_type": 5}, "not one type for each", False),
        ({"merges": None}, "no list of merges", False),
        ({"merges": ["b a"]}, "merge 'b a'", False),
        ({"tokens": ["a", "b", "ab", "", "x", "y"]}, "0 characters", False),
    ],
)
def test_gguf_metadata_that_are_refused(
    changes: dict[str, Any], what: str, unsupported: bool
) -> None:
    with pytest.raises(FormatError, match=what) as caught:
        read_gguf_tokenizer(gguf_metadata(**changes), "the-file")
    assert str(caught.value).startswith("the-file: ")
    assert isinstance(caught.value, UnsupportedFormatError) is unsupported
