"""Chat templates: the same text as transformers makes, and no harm from a hostile one."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.execution.engines.chat_template import (
    MAX_RENDERED_CHARS,
    MAX_TEMPLATE_CHARS,
    PLAIN_TEMPLATE,
    ChatTemplate,
    chat_template_from_gguf,
    gguf_token,
    load_chat_template,
)
from aprqa_ci.execution.engines.interface import EngineFailedError, Message, ModelLoadError

CHATML = (
    "{% for message in messages %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}\n"
    "{% endfor %}\n"
    "{% if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' -}}\n"
    "{% endif %}\n"
)
TALK = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="What is 7 + 5?"),
)


def ask(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def test_blocks_leave_no_space_of_their_own() -> None:
    assert ChatTemplate(CHATML).render(TALK) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nWhat is 7 + 5?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_the_head_of_the_answer_is_left_out_on_demand() -> None:
    text = ChatTemplate(CHATML).render(TALK, add_generation_prompt=False)
    assert text.endswith("<|im_end|>\n")


@given(st.text())
def test_what_the_user_wrote_is_never_run_or_escaped(content: str) -> None:
    assert PLAIN_TEMPLATE.render(ask(content)) == content
    assert f"user\n{content}<|im_end|>" in ChatTemplate(CHATML).render(ask(content))


def test_template_code_in_a_message_stays_text() -> None:
    assert PLAIN_TEMPLATE.render(ask("{{ 1 + 1 }}{% raw %}<&>")) == "{{ 1 + 1 }}{% raw %}<&>"


def test_the_plain_template_joins_with_line_breaks() -> None:
    assert PLAIN_TEMPLATE.render(TALK) == "Be brief.\nWhat is 7 + 5?"
    assert PLAIN_TEMPLATE.render([]) == ""


def test_special_tokens_tools_and_documents_are_known_to_the_template() -> None:
    source = "{{ bos_token }}|{{ eos_token }}|{{ tools is none }}|{{ documents is none }}"
    text = ChatTemplate(source, bos_token="<s>", eos_token="</s>").render(TALK)
    assert text == "<s>|</s>|True|True"


def test_json_is_not_escaped_for_html() -> None:
    source = "{{ {'b': '<é>', 'a': 1} | tojson }}{{ [1] | tojson(indent=1) }}"
    assert ChatTemplate(source).render(TALK) == '{"b": "<é>", "a": 1}[\n 1\n]'


def test_the_clock_is_the_callers() -> None:
    source = "{{ strftime_now('%d %b %Y') }}"
    assert ChatTemplate(source).render(TALK) == "26 Jul 2024"
    day = ChatTemplate(source, now=lambda: datetime(2031, 1, 2, tzinfo=UTC))
    assert day.render(TALK) == "02 Jan 2031"


def test_loop_controls_and_generation_blocks_work() -> None:
    source = (
        "{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}"
        "{% generation %}{{ i }}{% endgeneration %}{% endfor %}"
    )
    assert ChatTemplate(source).render(TALK) == "01"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ raise_exception('system role not supported') }}", "system role not supported"),
        ("{% for m in messages %}", "endfor"),
        ("{{ messages[7]['content'] }}", "no element 7"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% for i in range(10**9) %}x{% endfor %}", "1000000 steps"),
        (
            "{% for i in range(5000) %}{% for j in range(5000) %}{% endfor %}{% endfor %}",
            "1000000 steps",
        ),
        ("{{ 'aaaaaaaaaa' * 10**9 }}", "repeats"),
        ("{{ 10**9 * [1, 2] }}", "repeats"),
        ("{{ 9 ** (10 ** 9) }}", "power"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
        ("{{ 1 / 0 }}", "division"),
        ("{% include 'x' %}", "loader"),
        ("{{ none + 1 }}", "NoneType"),
        ("x" * (MAX_TEMPLATE_CHARS + 1), "longer than"),
    ],
)
def test_a_bad_template_is_an_engine_failure(source: str, said: str) -> None:
    with pytest.raises(EngineFailedError, match=said):
        ChatTemplate(source).render(TALK)


def test_output_is_bounded() -> None:
    source = "{% for i in range(1000) %}{{ 'x' * 10000 }}{% endfor %}"
    with pytest.raises(EngineFailedError, match=str(MAX_RENDERED_CHARS)):
        ChatTemplate(source).render(TALK)


def test_the_budget_of_loops_is_each_renderings_own() -> None:
    template = ChatTemplate("{% for i in range(90000) %}{% endfor %}ok")
    assert {template.render(TALK) for _ in range(15)} == {"ok"}


@settings(max_examples=200)
@given(st.text(alphabet="{}%- |=()[]'abfmnor.1\n"))
def test_any_source_renders_or_is_an_engine_failure(source: str) -> None:
    try:
        assert isinstance(ChatTemplate(source).render(TALK), str)
    except EngineFailedError as error:
        assert "chat template" in str(error)  # noqa: PT017 - either end is right


def write_config(directory: Path, config: object) -> None:
    (directory / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def test_a_directory_without_a_template_has_none(tmp_path: Path) -> None:
    assert load_chat_template(tmp_path) is None
    write_config(tmp_path, {"eos_token": "</s>"})
    assert load_chat_template(tmp_path) is None
    write_config(tmp_path, {"chat_template": []})
    assert load_chat_template(tmp_path) is None


def test_the_template_of_the_tokenizer_configuration(tmp_path: Path) -> None:
    write_config(
        tmp_path,
        {
            "chat_template": "{{ bos_token }}{{ eos_token }}",
            "bos_token": {"content": "<s>", "lstrip": False},
            "eos_token": "</s>",
        },
    )
    template = load_chat_template(tmp_path)
    assert template is not None
    assert template.render(TALK) == "<s></s>"


def test_a_template_file_goes_first(tmp_path: Path) -> None:
    write_config(tmp_path, {"chat_template": "old", "bos_token": "<s>"})
    (tmp_path / "chat_template.jinja").write_text("new{{ bos_token }}", encoding="utf-8")
    template = load_chat_template(tmp_path)
    assert template is not None
    assert template.render(TALK) == "new<s>"


def test_of_named_templates_the_default_one_counts(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    write_config(tmp_path, {"chat_template": named})
    template = load_chat_template(tmp_path)
    assert template is not None
    assert template.render(TALK) == "d"


def test_named_templates_without_a_default_fail_when_used(tmp_path: Path) -> None:
    write_config(tmp_path, {"chat_template": [{"name": "rag", "template": "r"}]})
    template = load_chat_template(tmp_path)
    assert template is not None
    with pytest.raises(EngineFailedError, match="none of its templates is the default"):
        template.render(TALK)


@pytest.mark.parametrize(
    "config",
    [[], 5, {"chat_template": 5}, {"chat_template": {}}, {"chat_template": [{"name": "x"}]}],
)
def test_a_configuration_of_another_shape_does_not_load(tmp_path: Path, config: object) -> None:
    write_config(tmp_path, config)
    with pytest.raises(ModelLoadError, match="tokenizer_config"):
        load_chat_template(tmp_path)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000])
def test_a_damaged_configuration_does_not_load(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "tokenizer_config.json").write_bytes(data)
    with pytest.raises(ModelLoadError, match="tokenizer_config"):
        load_chat_template(tmp_path)


def test_a_template_file_that_is_too_large_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"x" * (MAX_TEMPLATE_CHARS * 4 + 1))
    with pytest.raises(ModelLoadError, match="larger than"):
        load_chat_template(tmp_path)


def test_the_template_of_a_gguf_file() -> None:
    metadata = {
        "tokenizer.chat_template": "{{ bos_token }}-{{ eos_token }}",
        "tokenizer.ggml.tokens": ["<s>", "</s>"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
    }
    template = chat_template_from_gguf(metadata)
    assert template is not None
    assert template.render(TALK) == "<s>-</s>"


@pytest.mark.parametrize("source", [None, "", 5])
def test_a_gguf_file_without_a_template_has_none(source: object) -> None:
    assert chat_template_from_gguf({"tokenizer.chat_template": source}) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"id": 0},
        {"id": "0", "tokenizer.ggml.tokens": ["a"]},
        {"id": 9, "tokenizer.ggml.tokens": ["a"]},
        {"id": -1, "tokenizer.ggml.tokens": ["a"]},
        {"id": 0, "tokenizer.ggml.tokens": [5]},
    ],
)
def test_a_token_that_the_file_does_not_have_is_empty(metadata: dict[str, object]) -> None:
    assert gguf_token(metadata, "id") == ""
