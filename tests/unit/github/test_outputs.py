from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.github.outputs import (
    MAX_OUTPUT_BYTES,
    append_summary,
    render_output,
    set_outputs,
)


def read_outputs(text: str) -> dict[str, str]:
    """Read the file as the runner does (actions/runner, FileCommandManager)."""
    lines = iter(text.split("\n"))
    outputs: dict[str, str] = {}
    for line in lines:
        if not line:
            continue
        name, _, word = line.partition("<<")
        value: list[str] = []
        for inner in lines:
            if inner == word:
                break
            value.append(inner)
        else:
            pytest.fail(f"no end of {name}")
        outputs[name] = "\n".join(value)
    return outputs


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r")))
def test_any_value_comes_back(value: str) -> None:
    assert read_outputs(render_output("name", value)) == {"name": value}


def test_a_value_cannot_end_itself() -> None:
    words: Iterator[str] = iter(["guessed", "guessed", "other"])
    value = "x\nguessed\nstolen<<y\n1\ny"
    text = render_output("name", value, delimiter=lambda: next(words))
    assert read_outputs(text) == {"name": value}


def test_delimiters_are_random() -> None:
    assert len({render_output("a", "b") for _ in range(5)}) == 5


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a<<b", "a=b", "1a", "-a"])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(InputError, match="not the name of an output"):
        render_output(name, "x")


def test_a_value_above_the_limit_is_refused() -> None:
    render_output("a", "x" * (MAX_OUTPUT_BYTES // 2))
    with pytest.raises(InputError, match=r"UTF-16.*artifact"):
        render_output("a", "x" * (MAX_OUTPUT_BYTES // 2 + 1))


def test_outputs_are_added_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("earlier<<E\n1\nE\n")
    set_outputs(path, {"mqs": "850", "pr-url": "https://x.test/1", "odd": "\ud800"})
    assert read_outputs(path.read_text()) == {
        "earlier": "1",
        "mqs": "850",
        "pr-url": "https://x.test/1",
        "odd": "?",
    }


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{tmp_path}: cannot write"):
        set_outputs(tmp_path, {"a": "b"})
    with pytest.raises(InputError, match="cannot write"):
        append_summary(tmp_path / "no" / "such", "x")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        append_summary(tmp_path / "file" / "below", "x")


def test_a_summary_is_added_and_cut_to_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    append_summary(path, "# First")
    assert path.read_text() == "# First\n"
    append_summary(path, "# Second\n\n" + "word\n" * 100, limit=200)
    text = path.read_text()
    assert len(text.encode()) <= 200
    assert text.startswith("# First\n# Second\n\nword\n")
    assert text.endswith("\nThe rest is too long for this place.\n")
    append_summary(path, "no more room", limit=200)
    assert path.read_text() == text
