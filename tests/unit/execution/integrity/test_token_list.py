import json
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.integrity import token_list
from aprqa_ci.execution.integrity.token_list import (
    TokenList,
    token_list_of_directory,
    token_list_of_metadata,
)


def read(directory: Path, content: dict[str, Any]) -> TokenList:
    (directory / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return token_list_of_directory(directory)


def test_tokens_come_from_the_vocabulary_and_the_added_tokens(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        {
            "model": {"vocab": {"a": 0, "b": 1}, "merges": [["a", "b"], "b a"]},
            "added_tokens": [{"id": 7, "content": "<x>"}],
        },
    )
    assert found.tokens == {0: "a", 1: "b", 7: "<x>"}
    assert found.rows_needed == 8
    assert found.merges == ("a b", "b a")


def test_a_unigram_vocabulary_is_a_list_with_scores(tmp_path: Path) -> None:
    found = read(tmp_path, {"model": {"vocab": [["a", 0.0], ["b", -1.5]]}})
    assert found.tokens == {0: "a", 1: "b"}
    assert found.merges is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no vocabulary"),
        ({"model": {"vocab": "x"}}, "no vocabulary"),
        ({"model": {"vocab": {}}}, "holds no token"),
        ({"model": {"vocab": {"a": "0"}}}, "not a whole number"),
        ({"model": {"vocab": {"a": -1}}}, "not a whole number"),
        ({"model": {"vocab": {"a": 1 << 40}}}, "not a whole number"),
        ({"model": {"vocab": {"a": 0, "b": 0}}}, "the same id"),
        ({"model": {"vocab": ["a"]}}, "not a list of tokens with scores"),
        ({"model": {"vocab": {"a": 0}, "merges": "x"}}, "merges are not a list"),
        ({"model": {"vocab": {"a": 0}, "merges": [3]}}, "a merge is not a pair"),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": {"a": 1}}, "not a list"),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1}]}, "no id or no content"),
        ({"model": {"vocab": {"a": 0}}, "added_tokens": ["a"]}, "no id or no content"),
    ],
)
def test_a_damaged_tokenizer_is_named(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, content)


def test_a_missing_tokenizer_is_not_one_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="the tokenizer is missing") as caught:
        token_list_of_directory(tmp_path)
    assert not isinstance(caught.value, UnsupportedFormatError)
    (tmp_path / "tokenizer.model").write_bytes(b"x")
    with pytest.raises(UnsupportedFormatError, match=r"tokenizer\.model"):
        token_list_of_directory(tmp_path)


def test_rows_that_only_fill_up_need_no_embedding() -> None:
    found = token_list_of_metadata(
        {
            "tokenizer.ggml.tokens": ["a", "b", "[PAD2]"],
            "tokenizer.ggml.token_type": [1, 1, 5],
            "tokenizer.ggml.merges": ["a b"],
        }
    )
    assert found.rows_needed == 2
    assert found.padding == {2}
    assert found.merges == ("a b",)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "is missing"),
        ({"tokenizer.ggml.tokens": []}, "is missing"),
        ({"tokenizer.ggml.tokens": [1]}, "not a list of texts"),
        ({"tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.token_type": [1, 1]}, "one entry"),
        ({"tokenizer.ggml.tokens": ["a"], "tokenizer.ggml.token_type": 1}, "one entry"),
    ],
)
def test_damaged_metadata_are_named(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        token_list_of_metadata(metadata)


def test_a_list_beyond_any_vocabulary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_list, "_MAX_ID", 3)
    assert token_list_of_metadata({"tokenizer.ggml.tokens": ["a"] * 3}).rows_needed == 3
    with pytest.raises(FormatError, match="4 entries, more than 3"):
        token_list_of_metadata({"tokenizer.ggml.tokens": ["a"] * 4})
