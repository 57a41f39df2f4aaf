import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.formats.byte_level import (
    PRE_TOKENIZERS,
    bytes_of_symbols,
    split_words,
    symbols_of,
)


@pytest.mark.parametrize(
    ("pre", "text", "words"),
    [
        ("gpt-2", "it's 12  he", ["it", "'s", " 12", " ", " he"]),
        ("gpt-2", "IT'S", ["IT", "'", "S"]),
        ("gpt-2", "a!?_ b \n", ["a", "!?_", " b", " \n"]),
        ("gpt-2", "x²½ é日", ["x", "²½", " é日"]),
        ("smollm", "a 12  3", ["a", " ", "1", "2", "  ", "3"]),
        ("smollm", "a  b", ["a", " ", " b"]),
        ("smollm", "²½.Ⅷ", ["²", "½", ".", "Ⅷ"]),
        ("gpt-2", "²½.٣", ["²½", ".", "٣"]),
        ("qwen2", "IT'S 123\n\nx", ["IT", "'S", " ", "1", "2", "3", "\n\n", "x"]),
        ("qwen2", "(he  \n !)\n", ["(he", "  \n", " !)\n"]),
        ("llama-bpe", "1234567 \u00a0x", ["123", "456", "7", " ", "\u00a0x"]),
        ("llama-bpe", "\u017f'\u017f", ["\u017f", "'\u017f"]),
    ],
)
def test_words(pre: str, text: str, words: list[str]) -> None:
    assert list(split_words(text, pre)) == words


@given(st.text(), st.sampled_from(sorted(PRE_TOKENIZERS)))
def test_words_joined_are_the_text(text: str, pre: str) -> None:
    assert "".join(split_words(text, pre)) == text


@given(st.text())
def test_symbols_spell_the_bytes(text: str) -> None:
    symbols = symbols_of(text)
    assert len(symbols) == len(text.encode())
    assert bytes_of_symbols(symbols) == text.encode()


def test_the_alphabet_is_that_of_gpt2() -> None:
    assert symbols_of(" a\n\u00a0") == "ĠaĊÂł"
    assert len({symbols_of("é"), symbols_of("e")}) == 2
    assert bytes_of_symbols("日") == "日".encode()
