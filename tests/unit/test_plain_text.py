import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.plain_text import one_line, shorten, strip_ansi, visible


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\label\x1b]8;;\x1b\\", "label"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b(Bplain\x1bM", "plain"),
        ("no escape [31m", "no escape [31m"),
    ],
)
def test_escape_sequences_are_dropped(raw: str, plain: str) -> None:
    assert strip_ansi(raw) == plain


def test_an_unended_sequence_does_not_swallow_the_rest() -> None:
    assert "the wrong answer" in visible("\x1b]0;the wrong answer")
    assert "the wrong answer" in visible("\x1bP the wrong answer")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x00b\x7f", "a␀b␡"),
        ("safe\u202egnp.exe", "safe[U+202E]gnp.exe"),
        ("\u2066x\u2069", "[U+2066]x[U+2069]"),
        ("\ufeffx\u200b", "[U+FEFF]x[U+200B]"),
        ("hidden\U000e0041", "hidden[U+E0041]"),
        ("\ud800", "\ufffd"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("tab\tstays", "tab\tstays"),
        ("👩\u200d🔬 שלום नमस्\u200cते", "👩\u200d🔬 שלום नमस्\u200cते"),
    ],
)
def test_what_cannot_be_seen_becomes_visible(raw: str, shown: str) -> None:
    assert visible(raw) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_can_be_encoded_and_is_stable(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert visible(shown) == shown
    assert not any(ord(character) < 0x20 and character not in "\t\n" for character in shown)


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()
    assert "  " not in line


def test_shorten_says_how_much_is_missing() -> None:
    assert shorten("12345", 5) == "12345"
    assert shorten("123456789", 5) == "12345… [4 more characters]"
