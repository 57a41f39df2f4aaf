from typing import Any

import pytest

from aprqa_ci.errors import InputError
from aprqa_ci.execution.engines.openai_options import OPTION_MEANINGS, read_openai_options


def test_options_are_read() -> None:
    found = read_openai_options(
        {
            "command": ("vllm", "serve", "{model}", "--port={port}", "{{x}}"),
            "start_seconds": 30,
            "sampling": ("top_k=-1", "min_p=0.5", "flag=true"),
        }
    )
    assert found.start_seconds == 30.0
    assert found.names_files
    assert found.settings == {"top_k": -1, "min_p": 0.5, "flag": True}
    assert not read_openai_options({"command": ("ollama", "{port}")}).names_files


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ulr": "http://x"}, "no option 'ulr': perhaps 'url'"),
        ({"url": 7}, "openai.url must be a text"),
        ({"url": "ftp://x"}, "is no address of a server"),
        ({"url": "http://"}, "is no address of a server"),
        ({"url": "http://x.org", "api_key_env": "KEY"}, "its key in plain sight"),
        ({"url": "http://x", "command": ("a", "{port}")}, "exclude each other"),
        ({"api_key_env": "sk-12345"}, "and never a key itself"),
        ({"health": "health"}, "must be a path"),
        ({"start_seconds": 0}, "between 0 and 7200"),
        ({"start_seconds": True}, "must be a number"),
        ({"context_length": -1}, "0 or more"),
        ({"command": "vllm {port}"}, "must be a list of texts"),
        ({"command": ("vllm",)}, r"must hand over {port}"),
        ({"command": ("vllm", "{port}", "{modle}")}, "perhaps 'model'"),
        ({"command": ("vllm", "{port}", "{model.__class__}")}, "no known placeholder"),
        ({"command": ("vllm", "{port!r}")}, "no known placeholder"),
        ({"command": ("vllm", "{port:9}")}, "no known placeholder"),
        ({"command": ("vllm", "{port}", "{")}, "openai.command: '{'"),
        ({"command": ("vllm", "{port}", "a\0b")}, "zero byte"),
        ({"command": ("", "{port}")}, "names no program"),
        ({"command": ("x", *["{port}"] * 300)}, "more than 256 parts"),
        ({"sampling": ("top_k",)}, "is no setting"),
        ({"sampling": ("seed=1",)}, "is no setting"),
        ({"sampling": ("x=__import__",)}, "is no setting"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_openai_options(given)
    assert said in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        read_openai_options({"a": 1, "b": 2, "health": "x"})
    assert len(caught.value.problems) == 3


def test_every_option_has_a_meaning() -> None:
    import dataclasses

    from aprqa_ci.execution.engines.openai_options import OpenAIOptions

    assert {each.name for each in dataclasses.fields(OpenAIOptions)} == OPTION_MEANINGS.keys()
