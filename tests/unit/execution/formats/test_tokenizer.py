import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.formats.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_gguf
from aprqa_ci.execution.formats.tokenizer_model import (
    AddedToken,
    TokenizerModel,
    pre_tokenizer_json,
)
from aprqa_ci.execution.formats.tokenizer_writing import tokenizer_json
from tests.tiny_llama import write_tiny_llama

PRE = ["gpt-2", "smollm", "qwen2", "llama-bpe"]
BITS = [
    *" \t\n\r\u00a0\u2028'019²stlvdmreSTLVDRE_.,!<|é日😀\u0301\u017f",
    "the",
    "<|im_end|>",
    "\r\n",
]


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> Tokenizer:
    return load_tokenizer(tiny_llama)


def test_encoding_merges_and_recognises_control_tokens(tiny: Tokenizer) -> None:
    ids = tiny.encode("<|im_start|>the 12é<|im_end|>")
    texts = [tiny.decode([token], skip_special=False) for token in ids]
    assert texts == ["<|im_start|>", "the", " ", "1", "2", "é", "<|im_end|>"]
    assert tiny.special_ids == {0, 1, 2}
    assert tiny.decode(ids) == "the 12é"
    assert tiny.decode(ids, skip_special=False) == "<|im_start|>the 12é<|im_end|>"


def test_control_tokens_are_text_where_control_is_not_wanted(tiny: Tokenizer) -> None:
    ids = tiny.encode("a<|im_end|>", parse_special=False)
    assert not set(ids) & tiny.special_ids
    assert tiny.decode(ids) == "a<|im_end|>"


def test_the_longest_added_token_wins_and_plain_ones_always_count() -> None:
    model = TokenizerModel(
        tokens=["<", "a", "<a>", "<a><b>", "<tool>"],
        added={
            2: AddedToken(content="<a>", special=True),
            3: AddedToken(content="<a><b>", special=True),
            4: AddedToken(content="<tool>", special=False),
        },
        merges=[],
        pre="gpt-2",
    )
    tokenizer = Tokenizer(model)
    assert tokenizer.encode("<<a><b><a>a<tool>") == [0, 3, 2, 1, 4]
    assert tokenizer.encode("a<tool>", parse_special=False) == [1, 4]
    assert tokenizer.decode([4, 3]) == "<tool>"


def test_ids_without_a_token_spell_nothing(tiny: Tokenizer) -> None:
    assert tiny.decode([-1, tiny.vocab_size, 10**9]) == ""


def test_half_characters_are_replaced_and_never_streamed(tiny: Tokenizer) -> None:
    ids = tiny.encode("a日é")
    assert tiny.decode(ids[:-2]) == "a�"
    stream = tiny.stream()
    pieces = [stream.add(token) for token in ids]
    assert pieces == ["a", "", "", "日", "é"]
    assert stream.end() == ""
    stream = tiny.stream()
    assert [stream.add(token) for token in ids[:3]] == ["a", "", ""]
    assert stream.end() == "�"


@given(text=st.text(), cut=st.integers(0, 40))
def test_what_is_streamed_is_what_is_decoded(text: str, cut: int, tiny: Tokenizer) -> None:
    ids = tiny.encode(text)[cut:]
    stream = tiny.stream(skip_special=False)
    streamed = "".join(stream.add(token) for token in ids) + stream.end()
    assert streamed == tiny.decode(ids, skip_special=False)


@given(text=st.lists(st.sampled_from(BITS) | st.text(max_size=3)).map("".join))
def test_text_comes_back(text: str, tiny: Tokenizer) -> None:
    assert tiny.decode(tiny.encode(text), skip_special=False) == text
    assert tiny.decode(tiny.encode(text, parse_special=False)) == text


def test_lone_surrogates_read_as_replacement_characters(tiny: Tokenizer) -> None:
    assert tiny.decode(tiny.encode("a\ud800b")) == "a\ufffdb"
    assert tiny.decode(tiny.encode("\ud83d\ude00")) == "😀"


def test_normal_form_c_only_where_the_model_asks_for_it(tmp_path: Path, tiny: Tokenizer) -> None:
    nfc = load_tokenizer(write_tiny_llama(tmp_path, tokenizer={"normalizer": {"type": "NFC"}}))
    assert nfc.decode(nfc.encode("e\u0301")) == "é"
    assert tiny.decode(tiny.encode("e\u0301")) == "e\u0301"


@pytest.mark.parametrize(
    "text", ["a" * 100_000, " " * 100_000, "'" * 100_000, "<|im_en" * 14_000, "12\n" * 33_000]
)
@pytest.mark.parametrize("pre", ["smollm", "llama-bpe"])
def test_hostile_text_comes_back(tmp_path: Path, pre: str, text: str) -> None:
    tokenizer = load_tokenizer(write_tiny_llama(tmp_path, pre_tokenizer=pre_tokenizer_json(pre)))
    # A rule or a merge that took quadratic time would run for minutes here.
    assert tokenizer.decode(tokenizer.encode(text)) == text


def _random_texts(count: int) -> list[str]:
    generator = random.Random(11)
    # Characters that this Python knows; a newer library may class later ones differently.
    known = [
        chr(code)
        for code in range(0x30000)
        if unicodedata.category(chr(code)) not in {"Cs", "Cn", "Co"}
    ]
    pools = (BITS, BITS, BITS, known)
    return [
        "".join(generator.choice(generator.choice(pools)) for _ in range(generator.randrange(30)))
        for _ in range(count)
    ]


@pytest.mark.parametrize("pre", PRE)
@pytest.mark.parametrize("whole_words", [False, True])
def test_ids_and_text_are_those_of_the_tokenizers_library(
    tmp_path: Path, pre: str, whole_words: bool
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    directory = write_tiny_llama(
        tmp_path,
        pre_tokenizer=pre_tokenizer_json(pre),
        tokenizer={"normalizer": {"type": "NFC"} if pre == "qwen2" else None},
    )
    path = directory / "tokenizer.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    content["model"]["ignore_merges"] = whole_words
    # Only looked up whole: no merge makes it.
    content["model"]["vocab"]["st"] = 271
    path.write_text(json.dumps(content), encoding="utf-8")
    ours, theirs = load_tokenizer(directory), tokenizers.Tokenizer.from_file(str(path))
    for text in [*_random_texts(400), "st st", "It's the 12th, <|im_end|>\n\n  and"]:
        ids = ours.encode(text)
        assert ids == theirs.encode(text, add_special_tokens=False).ids, repr(text)
        assert ours.decode(ids) == theirs.decode(ids), repr(text)


@settings(max_examples=30)
@given(ids=st.lists(st.integers(0, 275), max_size=30))
def test_decoding_any_ids_is_that_of_the_tokenizers_library(
    ids: list[int], tiny_llama: Path, tiny: Tokenizer
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    theirs = tokenizers.Tokenizer.from_file(str(tiny_llama / "tokenizer.json"))
    assert tiny.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("pre", PRE)
def test_a_written_tokenizer_reads_as_the_same(tmp_path: Path, pre: str) -> None:
    model = TokenizerModel(
        tokens=["a", "b", None, "ab", "<s>", "<tool>"],
        added={
            4: AddedToken(content="<s>", special=True),
            5: AddedToken(content="<tool>", special=False),
        },
        merges=["a b"],
        pre=pre,
        nfc=True,
        ignore_merges=True,
        add_bos=True,
        bos_id=4,
        unknown_id=0,
    )
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(model)), encoding="utf-8")
    assert load_tokenizer(tmp_path).model == model


def test_the_tokenizer_of_a_gguf_file() -> None:
    tokenizer = tokenizer_from_gguf(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "gpt-2",
            "tokenizer.ggml.tokens": ["a", "b", "ab", "<|end|>"],
            "tokenizer.ggml.token_type": [1, 1, 1, 3],
            "tokenizer.ggml.merges": ["a b"],
        }
    )
    assert tokenizer.encode("abb<|end|>a") == [2, 1, 3, 0]
    assert tokenizer.vocab_size == 4
