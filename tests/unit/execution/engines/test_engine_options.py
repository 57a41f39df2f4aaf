from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines.engine_options import (
    merged_options,
    parse_options,
    read_options,
)


def test_options_are_read_by_engine() -> None:
    found = parse_options(
        [
            "openai.url=http://127.0.0.1:8000/v1?a=b",
            "openai.deadline_s=30",
            'openai.command=["vllm", "serve", "{model}"]',
            'openai.model="7"',
            "llama.cpp.fast=true",
        ]
    )
    assert found == {
        "openai": {
            "url": "http://127.0.0.1:8000/v1?a=b",
            "deadline_s": 30,
            "command": ("vllm", "serve", "{model}"),
            "model": "7",
        },
        "llama.cpp": {"fast": True},
    }


def test_every_wrong_option_is_named() -> None:
    wrong = ["openai", "openai.url", "=x", "Openai.url=x", 'a.b={"c": 1}', "a.b=[1]", "a.b=null"]
    with pytest.raises(InputError) as caught:
        parse_options([*wrong, "a.b=fine"])
    assert len(caught.value.problems) == len(wrong)
    for text, problem in zip(wrong, caught.value.problems, strict=True):
        assert repr(text) in problem.what


@given(value=st.text())
def test_any_text_stays_itself_written_as_json_or_not(value: str) -> None:
    import json

    assert parse_options([f"e.k={json.dumps(value)}"]) == {"e": {"k": value}}
    try:
        json.loads(value)
    except ValueError:
        assert parse_options([f"e.k={value}"]) == {"e": {"k": value}}


def test_a_file_of_options_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "options.yaml"
    path.write_text(
        "schema: aprqa-engine-options/1\nengines:\n  openai: {url: 'http://x', command: [a, b]}\n",
        encoding="utf-8",
    )
    assert read_options(path) == {"openai": {"url": "http://x", "command": ("a", "b")}}
    path.write_text("schema: aprqa-engine-options/1\nengine: {}\n", encoding="utf-8")
    with pytest.raises(InputError, match="unknown field `engine`"):
        read_options(path)
    with pytest.raises(InputError):
        read_options(tmp_path / "none.yaml")


def test_of_an_option_given_twice_the_last_holds() -> None:
    merged = merged_options({"a": {"x": 1, "y": 1}}, {"a": {"x": 2}, "b": {"z": 3}})
    assert merged == {"a": {"x": 2, "y": 1}, "b": {"z": 3}}
