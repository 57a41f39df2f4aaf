import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.oracles.text import (
    MAX_JUDGED,
    fenced_blocks,
    plain_answer,
    plain_text,
    quoted,
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("4", "4"),
        ("\x1b[1;36m4\x1b[0m", "4"),
        ("\x1b]0;title\x074", "4"),
        ("\x1b]8;;http://x\x1b\\4\x1b]8;;\x1b\\", "4"),
        ("\x1b(B4\x1bM", "4"),
        ("4\x1b[3", "4"),
        ("4\x1b", "4\ufffd"),
        ("a\r\nb\rc\r\r\nd", "a\nb\nc\nd"),
        ("    return a", "    return a"),
        ('{"text": "hi"}', "hi"),
        ('{"text": "hi", "latency_ms": 3, "tok_per_sec": 0.5}', "hi"),
        ('{"role": "assistant", "content": "hi"}', "hi"),
        ('{"model": "m", "response": "hi", "done": true}', "hi"),
        ('{"message": {"role": "assistant", "content": "hi"}}', "hi"),
        ('{"id": "1", "choices": [{"message": {"content": "hi"}}]}', "hi"),
        ('{"choices": [{"text": "hi"}]}', "hi"),
        ('{"choices": [{"delta": {"content": "hi"}}]}', "hi"),
        ('{"text": "{\\"text\\": \\"hi\\"}"}', "hi"),
        ('{"text": "\\u001b[31mhi\\u001b[0m"}', "hi"),
    ],
)
def test_what_was_put_around_the_answer_is_removed(answer: str, expected: str) -> None:
    assert plain_text(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        '{"answer": 4}',
        '{"text": "hi", "author": "me"}',
        '{"text": 4}',
        '{"choices": []}',
        '{"choices": ["a", "b"]}',
        '{"choices": [{"message": {"content": null}}]}',
        '{"message": {"role": "user", "content": "hi"}}',
        '{"text": "hi"} and more',
        '[{"text": "hi"}]',
        '{"text": "a", "text": "b"}',
        '{"text": NaN}',
        "{" * 100_0 + "}" * 100_0,
        "{}",
        "null",
    ],
)
def test_json_that_is_the_answer_stays(answer: str) -> None:
    assert plain_text(answer) == answer


escapes = st.sampled_from(
    ["\x1b", "\x1b[", "\x1b[31m", "\x1b]0;", "\x07", "\r", "\n", '{"text": "']
)


@given(st.lists(st.one_of(escapes, st.text(max_size=5))).map("".join))
def test_doing_it_twice_changes_nothing(answer: str) -> None:
    once = plain_text(answer)
    assert plain_text(once) == once
    assert "\x1b" not in once
    assert "\r" not in once


@given(st.text(alphabet=st.characters(exclude_characters="\x1b\r")))
def test_an_envelope_is_opened(text: str) -> None:
    envelope = json.dumps({"text": text, "tokens_generated": 3})
    assert plain_text(envelope) == plain_text(text)


def test_a_long_answer_is_cut_and_says_so() -> None:
    plain = plain_answer("a" * (MAX_JUDGED + 1))
    assert (len(plain.text), plain.cut) == (MAX_JUDGED, True)
    assert str(MAX_JUDGED) in plain.note
    whole = plain_answer("a" * MAX_JUDGED)
    assert (len(whole.text), whole.cut, whole.note) == (MAX_JUDGED, False, "")
    assert plain_answer(json.dumps({"text": "a" * (2 * MAX_JUDGED)})).text == "a" * MAX_JUDGED
    assert plain_answer("a" * (1 << 21)).cut


def test_fenced_blocks() -> None:
    text = "Here:\n```Python title=x\na = 1\n```\nand\n~~~\nb\n```\n~~~\n````json\n{}\n```"
    found = [(block.language, block.code, block.closed) for block in fenced_blocks(text)]
    assert found == [("python", "a = 1", True), ("", "b\n```", True), ("json", "{}\n```", False)]


def test_quotes_are_short_and_on_one_line() -> None:
    assert quoted("a\nb\x00") == '"a\\nb\\u0000"'
    assert len(quoted("a" * 500)) == 62
