"""Chat templates in the manner of the families in use, and broken ones."""

from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.integrity.finding import FindingState

TOKENIZER, METADATA = "G0-TOKENIZER-001", "G0-METADATA-001"
END, OTHER, START = "<|im_end|>", "<|endoftext|>", "<|im_start|>"

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Drops what was thought, as Qwen3 and the DeepSeek distillations do, and trims.
THINKS = (
    "{% for m in messages %}{% set said = m['content'] %}"
    "{% if m['role'] == 'assistant' and '</think>' in said %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ said | trim + '<|im_end|>\n' }}{% endfor %}"
)
# Knows no system message and says so, as Gemma 2 and the first Mistrals do.
REFUSES_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + CHATML
)
# Puts the system message before the last question, as later Mistrals do.
SYSTEM_LAST = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set talk = messages[1:] %}{% else %}{% set talk = messages %}{% endif %}"
    "{% for m in talk %}{% if m['role'] == 'user' %}"
    "{% if loop.last and system is defined %}{{ '[INST] ' + system + '\n\n' }}{{ m['content'] }}"
    "{{ '[/INST]' }}{% else %}{{ '[INST] ' + m['content'] + '[/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
# Ends only the last answer with an end token, as gpt-oss does.
ENDS_ONCE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + m['content'] }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<|im_end|>' }}{% else %}"
    "{{ '<|endoftext|>' }}{% endif %}{% endfor %}"
)
# Marks nothing, as the older instruction formats do.
PLAIN = "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n{% endfor %}"
REFUSES_TURNS = (
    "{% if messages | length > 1 %}{{ raise_exception('one question') }}{% endif %}" + CHATML
)
FAILS = "{{ messages[0].content.nothing.at_all }}"


def chat(kit: Any, template: str | None, **settings: Any) -> Any:
    """A model whose chat template this is."""
    model = kit.HfModel()
    model.extra["tokenizer_config.json"] = {
        "chat_template": template,
        "eos_token": END,
        **settings,
    }
    return model


@pytest.mark.parametrize(
    "template",
    [CHATML, THINKS, REFUSES_SYSTEM, SYSTEM_LAST, ENDS_ONCE, PLAIN, REFUSES_TURNS, FAILS, None],
)
def test_the_ways_of_the_field_stand(
    kit: Any, look: Any, tmp_path: Path, template: str | None
) -> None:
    found = look(chat(kit, template).write(tmp_path / "hf"))[TOKENIZER]
    assert found.state is FindingState.CORROBORATED, found.reason
    gguf = kit.GgufModel()
    if template is not None:
        gguf.metadata["tokenizer.chat_template"] = template
    found = look(gguf.write(tmp_path / "gguf"))[TOKENIZER]
    assert found.state is FindingState.CORROBORATED, found.reason


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML, "keeps a conversation and keeps a system message"),
        (REFUSES_SYSTEM, "keeps a conversation and refuses a system message"),
        (REFUSES_TURNS, "refuses a conversation and refuses a system message"),
        (FAILS, "was not judged"),
        (None, "there is no chat template"),
    ],
)
def test_what_was_shown_is_said(
    kit: Any, look: Any, tmp_path: Path, template: str | None, said: str
) -> None:
    assert said in look(chat(kit, template).write(tmp_path))[TOKENIZER].reason


@pytest.mark.parametrize(
    ("template", "lost"),
    [
        (CHATML.replace("messages %}{{", "messages if m['role'] != 'system' %}{{"), "the system's"),
        (CHATML.replace("in messages", "in messages[-1:]"), "the user's message of a conversation"),
        (CHATML.replace("in messages", "in messages | reverse"), "the assistant's"),
        (
            CHATML.replace("messages %}{{", "messages if m['role'] == 'user' %}{{"),
            "the assistant's",
        ),
        ("{{ 'Hello' }}", "the user's"),
    ],
)
def test_a_message_that_is_dropped_is_found(
    kit: Any, look: Any, tmp_path: Path, template: str, lost: str
) -> None:
    found = look(chat(kit, template).write(tmp_path))[TOKENIZER]
    assert found.state is FindingState.FALSIFIED
    assert f"drops {lost}" in found.reason
    # Nor does it help that the tokenizer is of a kind that is not read here.
    model = chat(kit, template)
    model.tokenizer["decoder"] = {"type": "Metaspace"}
    assert look(model.write(tmp_path))[TOKENIZER].state is FindingState.FALSIFIED


def test_a_turn_must_end_with_an_end_token(kit: Any, look: Any, tmp_path: Path) -> None:
    model = chat(kit, CHATML, eos_token=OTHER)
    model.config["eos_token_id"] = 0
    found = look(model.write(tmp_path))[TOKENIZER]
    assert found.state is FindingState.FALSIFIED
    assert f"ends an answer with '{END}', which is no end token ('{OTHER}')" in found.reason
    # Any document may name it, as generation_config.json does for Llama 3 and Phi-3.
    model.extra["generation_config.json"] = {"eos_token_id": [0, 2]}
    assert look(model.write(tmp_path))[TOKENIZER].state is FindingState.CORROBORATED


def test_a_gguf_file_s_turn_ends_where_llama_cpp_ends_it(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    gguf = kit.GgufModel()
    gguf.metadata["tokenizer.ggml.eos_token_id"] = 0
    gguf.metadata["tokenizer.chat_template"] = CHATML
    assert look(gguf.write(tmp_path))[TOKENIZER].state is FindingState.CORROBORATED
    gguf.metadata["tokenizer.chat_template"] = CHATML.replace(END, START)
    found = look(gguf.write(tmp_path))[TOKENIZER]
    assert f"ends an answer with '{START}'" in found.reason
    gguf.metadata["tokenizer.ggml.eot_token_id"] = 1
    assert look(gguf.write(tmp_path))[TOKENIZER].state is FindingState.CORROBORATED


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("ends", [70, [2, 70]])
def test_an_ordinary_token_ends_no_answer(
    kit: Any, look: Any, tmp_path: Path, file: str, ends: object
) -> None:
    model = chat(kit, CHATML)
    if file == "config.json":
        model.config["eos_token_id"] = ends
    else:
        model.extra[file] = {"eos_token_id": ends}
    found = look(model.write(tmp_path))[TOKENIZER]
    assert found.state is FindingState.FALSIFIED
    assert "the end token 70 is the ordinary token" in found.reason


def test_an_ordinary_token_ends_no_answer_of_a_gguf_file(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    gguf = kit.GgufModel()
    gguf.metadata["tokenizer.ggml.eot_token_id"] = 70
    assert look(gguf.write(tmp_path))[TOKENIZER].state is FindingState.FALSIFIED
    # Of a file that marks no token nothing is said.
    del gguf.metadata["tokenizer.ggml.token_type"]
    found = look(gguf.write(tmp_path))[TOKENIZER]
    assert "ordinary" not in found.reason


def test_an_end_token_that_no_tokenizer_has_ends_nothing(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = chat(kit, CHATML)
    model.extra["generation_config.json"] = {"eos_token_id": [2, 100_000]}
    assert look(model.write(tmp_path))[TOKENIZER].state is FindingState.CORROBORATED


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token": START},
        {"eos_token": {"content": START, "lstrip": False}},
        {"pad_token": START},
        {"additional_special_tokens": [END, START]},
        {"additional_special_tokens": [{"content": START}]},
    ],
)
def test_what_is_named_special_is_special(
    kit: Any, look: Any, tmp_path: Path, settings: dict[str, Any]
) -> None:
    model = chat(kit, None, **settings)
    assert look(model.write(tmp_path))[TOKENIZER].state is FindingState.CORROBORATED
    model.tokenizer["added_tokens"][1]["special"] = False
    found = look(model.write(tmp_path))[TOKENIZER]
    assert found.state is FindingState.FALSIFIED
    assert f"tokenizer_config.json calls '{START}' special" in found.reason


def test_the_other_map_of_special_tokens_counts_as_well(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    model = chat(kit, None)
    model.extra["special_tokens_map.json"] = {"additional_special_tokens": [START]}
    model.tokenizer["added_tokens"][1]["special"] = False
    assert "special_tokens_map.json" in look(model.write(tmp_path))[TOKENIZER].reason


def test_added_tokens_that_nobody_names_need_not_be_special(
    kit: Any, look: Any, tmp_path: Path
) -> None:
    """As <think> and <tool_call> of Qwen3, and the turns of DeepSeek."""
    model = chat(kit, CHATML)
    model.tokenizer["added_tokens"][1]["special"] = False
    found = look(model.write(tmp_path))
    assert found[TOKENIZER].state is FindingState.CORROBORATED
    # A name that no tokenizer knows is a gap of the document, and harms nothing.
    model = chat(kit, CHATML, additional_special_tokens=["<nowhere>", 7])
    assert look(model.write(tmp_path))[TOKENIZER].state is FindingState.CORROBORATED


def test_a_special_token_is_no_text_in_a_gguf_file(kit: Any, look: Any, tmp_path: Path) -> None:
    truth = kit.HfModel().write(tmp_path / "hf")
    gguf = kit.GgufModel()
    types = gguf.metadata["tokenizer.ggml.token_type"]
    # Some converters call control tokens user-defined.
    types[1] = 4
    found = look(gguf.write(tmp_path / "gguf"), truth)[METADATA]
    assert found.state is FindingState.CORROBORATED, found.reason
    types[1] = 1
    found = look(gguf.write(tmp_path / "gguf"), truth)[METADATA]
    assert found.state is FindingState.FALSIFIED
    assert f"1 special token marked as text: {START}" in found.reason
    del gguf.metadata["tokenizer.ggml.token_type"]
    found = look(gguf.write(tmp_path / "gguf"), truth)[METADATA]
    assert found.state is FindingState.CORROBORATED, found.reason


def test_a_damaged_template_file_falsifies(kit: Any, look: Any, tmp_path: Path) -> None:
    model = chat(kit, None).write(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    assert look(model)[TOKENIZER].state is FindingState.FALSIFIED
