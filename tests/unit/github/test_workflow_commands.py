import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.github.workflow_commands import (
    MAX_ANNOTATIONS,
    Annotation,
    Level,
    add_mask,
    annotate,
    group,
    limited,
    render_annotation,
    stop_commands,
)

# What the runner does with a command line (actions/runner, ActionCommand.TryParseV2).
COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: (?P<properties>.*?))?::(?P<data>.*)")


def unescaped(text: str, *, in_property: bool) -> str:
    for code, character in (("%3A", ":"), ("%2C", ",")) if in_property else ():
        text = text.replace(code, character)
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    found = COMMAND.fullmatch(line.removesuffix("\n"))
    assert found, line
    pairs = (pair.split("=", 1) for pair in (found["properties"] or "").split(",") if pair)
    properties = {name: unescaped(value, in_property=True) for name, value in pairs}
    return found["name"], properties, unescaped(found["data"], in_property=False)


def test_an_annotation_is_one_escaped_line() -> None:
    annotation = Annotation(
        level=Level.ERROR,
        message="100% wrong\nin two lines\r\nor three",
        title="a: b, c",
        file="dir/a,b:c.yaml",
        line=7,
    )
    assert render_annotation(annotation) == (
        "::error title=a%3A b%2C c,file=dir/a%2Cb%3Ac.yaml,line=7::"
        "100%25 wrong%0Ain two lines%0Aor three\n"
    )
    assert render_annotation(Annotation(level=Level.NOTICE, message="so")) == "::notice::so\n"


@given(st.text(max_size=300), st.text(max_size=50), st.text(max_size=50))
def test_nothing_in_an_annotation_becomes_a_command_or_a_property(
    message: str, title: str, file: str
) -> None:
    text = render_annotation(
        Annotation(level=Level.WARNING, message=message, title=title, file=file)
    )
    assert text.count("\n") == 1
    assert "\r" not in text
    name, properties, data = parsed(text)
    assert name == "warning"
    assert set(properties) <= {"title", "file"}
    if message.isascii() and message.isprintable():
        assert data == message


def test_hostile_text_does_not_act() -> None:
    hostile = "::set-env name=PATH::/evil\n::error::forged\x1b[31m\u202e"
    text = render_annotation(Annotation(level=Level.NOTICE, message=hostile, title=hostile))
    _, properties, data = parsed(text)
    assert data == "::set-env name=PATH::/evil\n::error::forged[U+202E]"
    assert list(properties) == ["title"]


def test_long_messages_are_cut() -> None:
    text = render_annotation(Annotation(level=Level.ERROR, message="x" * 9000, title="t" * 900))
    assert len(text) < 5000
    assert "more characters" in text


@pytest.mark.parametrize("number", [0, 1, 9, 10, 11, 37])
def test_of_each_level_ten_are_shown_and_the_last_counts_the_others(number: int) -> None:
    errors = [Annotation(level=Level.ERROR, message=f"e{n}") for n in range(number)]
    warnings = [Annotation(level=Level.WARNING, message=f"w{n}") for n in range(12)]
    kept = limited([*warnings, *errors])
    shown = [each for each in kept if each.level is Level.ERROR]
    assert len(shown) == min(number, MAX_ANNOTATIONS)
    if number > MAX_ANNOTATIONS:
        assert shown[:9] == errors[:9]
        assert shown[9].message.startswith(f"{number - 9} more")
    else:
        assert shown == errors
    assert [each.message for each in kept if each.level is Level.WARNING][9].startswith("3 more")


def test_annotations_are_written_limited() -> None:
    lines: list[str] = []
    annotate([Annotation(level=Level.ERROR, message=str(n)) for n in range(15)], lines.append)
    assert len(lines) == 10
    assert all(line.startswith("::error") for line in lines)


def test_every_line_of_a_secret_is_masked() -> None:
    lines: list[str] = []
    add_mask("one%\n\n  \ntwo", lines.append)
    assert lines == ["::add-mask::one%25\n", "::add-mask::two\n"]


def test_a_group_is_closed_whatever_happens() -> None:
    lines: list[str] = []
    with pytest.raises(ZeroDivisionError), group("a\n::b", lines.append):
        lines.append(f"inside{1 // 0}")
    assert lines == ["::group::a ::b\n", "::endgroup::\n"]


def obeyed(text: str) -> list[str]:
    """Return the commands that a runner would obey, reading line by line as it does."""
    stopped, commands = "", []
    for line in text.split("\n"):
        found = re.match(r"\s*::(?P<name>[^\s:]+).*?::(?P<data>.*)", f"{line}")
        if stopped:
            if line.strip() == f"::{stopped}::":
                stopped = ""
        elif found and found["name"] == "stop-commands":
            stopped = found["data"]
        elif found:
            commands.append(found["name"])
    return commands


def test_foreign_text_gives_no_orders() -> None:
    written: list[str] = []
    with stop_commands(written.append):
        written.append("::error::forged\n::abc::\n::set-output name=x::1")
    written.append("::notice::ours\n")
    assert obeyed("".join(written)) == ["notice"]
    assert obeyed("::error::forged\n") == ["error"]


def test_the_word_that_ends_it_cannot_be_guessed() -> None:
    words = set()
    for _ in range(5):
        written: list[str] = []
        with stop_commands(written.append):
            pass
        words.add(written[0])
        assert written[0].startswith("::stop-commands::")
        word = written[0].removeprefix("::stop-commands::").rstrip("\n")
        assert len(word) >= 32
        assert written[-1] == f"\n::{word}::\n"
    assert len(words) == 5


def test_commands_start_again_after_a_failure() -> None:
    written: list[str] = []
    with pytest.raises(OSError, match="gone"), stop_commands(written.append, token=lambda: "w"):
        raise OSError(str(Path("gone")))
    assert written == ["::stop-commands::w\n", "\n::w::\n"]
