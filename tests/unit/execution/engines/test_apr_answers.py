"""Answers of the apr tool: in shapes that were recorded, our words in them, and in the records."""

import contextlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.execution.engines.apr_answers import (
    AprAnswerError,
    parse_chat,
    parse_generated,
    parse_run,
)

_CORPUS = Path(
    os.environ.get("APRQA_CORPUS", Path(__file__).resolve().parents[4].parent / "shared" / "corpus")
)

HEAD = "\x1b[1;36m=== APR Run ===\x1b[0m\n\nSource: /models/a.gguf\n\n"
GENERATED = "\x1b[32mGenerated 7 tokens in 3182.4ms (2.2 tok/s)\x1b[0m\n"
CHAT_HEAD = (
    "\x1b[1;36m=== Model Chat (GGUF Format) ===\x1b[0m\n\n"
    "  \x1b[1;37mModel\x1b[0m: /models/a.gguf\n  \x1b[1;37mTemperature\x1b[0m: 0.7\n\n"
    "Commands:\n  /quit     Exit the chat\n\n════════\n\n\x1b[36mLoading model...\x1b[0m\n"
)
TURN = "\x1b[1;32mYou: \x1b[0m\x1b[1;34mAssistant:\x1b[0m "
GOODBYE = "\n\n\x1b[1;32mYou: \x1b[0m\n\x1b[36mGoodbye!\x1b[0m\n"


def kind_of(call: object, *given: str) -> str:
    with pytest.raises(AprAnswerError) as caught:
        call(*given)  # type: ignore[operator] # one of the parsers
    return caught.value.kind


def test_text_after_its_mark_is_the_answer_alone() -> None:
    said = "It is 4.\n\nOutput:\n{}"
    shown = f"{HEAD}\x1b[1;32mOutput:\x1b[0m\n{said}\n\nCompleted in 0.91s (cached)\n"
    answer = parse_run(shown, GENERATED)
    assert answer.text == said
    assert (answer.tokens, answer.tokens_per_second) == (7, 2.2)
    assert answer.source == "/models/a.gguf"


def test_json_is_decoded() -> None:
    found = {"text": "a\n\x1b[1mb", "tokens_generated": 3, "tok_per_sec": 1.5}
    answer = parse_run(HEAD + json.dumps(found, indent=2), GENERATED)
    assert answer.text == "a\n\x1b[1mb"
    assert (answer.tokens, answer.tokens_per_second) == (3, 1.5)
    assert parse_run('{"response": "x", "tokens": true}').tokens is None


def test_figures_are_no_answer() -> None:
    figures = "=== Benchmark Results ===\ntok/s: 9.5\ntokens: 32\nlatency: 4316.52ms\nmodel: a"
    assert kind_of(parse_run, HEAD + figures, GENERATED) == "figures-only"
    assert kind_of(parse_run, HEAD + '{"tok_s": 1.0, "tokens": 3}') == "figures-only"


def test_a_banner_is_no_answer() -> None:
    assert kind_of(parse_run, HEAD) == "unknown"
    assert kind_of(parse_run, "") == "unknown"
    assert kind_of(parse_run, HEAD + "{not json\n{") == "unknown"
    assert kind_of(parse_chat, CHAT_HEAD) == "unknown"


def test_an_empty_answer_is_one() -> None:
    assert parse_run(f"{HEAD}Output:\n\n\nCompleted in 0.9s (cached)\n").text == ""
    assert parse_chat(CHAT_HEAD + TURN + GOODBYE).text == ""


def test_a_chat_has_banners_prompts_and_a_goodbye() -> None:
    answer = parse_chat(f"{CHAT_HEAD}{TURN}one{GOODBYE}")
    assert answer.text == "one"
    said = f"{CHAT_HEAD}{TURN}one\n\n{TURN}You: two\n\nAssistant: three{GOODBYE}"
    assert parse_chat(said).text == "You: two\n\nAssistant: three"


def test_an_error_in_the_place_of_an_answer_is_no_answer() -> None:
    assert kind_of(parse_chat, f"{CHAT_HEAD}{TURN}[Error: no such tensor]{GOODBYE}") == "error"
    assert kind_of(parse_run, '{"text": "[Error: x]"}') == "error"
    assert parse_run('{"text": "[Error: x] is how it looks"}').text.endswith("looks")


def test_an_answer_without_the_model_is_none() -> None:
    shown = f"{CHAT_HEAD}\x1b[32mLoaded\x1b[0m Demo format in 0.00s (0.0 MB)\n{TURN}hi{GOODBYE}"
    assert kind_of(parse_chat, shown) == "not-loaded"


def test_what_the_tool_says_of_device_and_tokenizer_is_noted() -> None:
    shown = (
        f"{CHAT_HEAD}Loaded tokenizer from HuggingFace cache: /h/b/tokenizer.json (9 tokens)\n"
        f"\x1b[92m[GGUF CUDA: NVIDIA X (1 MB VRAM) — pre-cached]\x1b[0m\n{TURN}hi{GOODBYE}"
    )
    answer = parse_chat(shown)
    assert answer.gpu == "NVIDIA X (1 MB VRAM) — pre-cached"
    assert answer.foreign_tokenizer == "/h/b/tokenizer.json"
    assert not answer.fell_back
    assert parse_chat(shown, "The GPU CANNOT serve this model., will use CPU]").fell_back


def test_replies_of_generate() -> None:
    own = {"latency_ms": 5, "text": "abc", "tok_per_sec": 0.9, "tokens_generated": 3}
    answer = parse_generated(json.dumps(own), "p")
    assert (answer.text, answer.tokens, answer.tokens_per_second) == ("abc", 3, 0.9)
    together = json.dumps({"token_ids": [1, 2, 3], "text": "What? This."})
    answer = parse_generated(together, "What?")
    assert (answer.text, answer.tokens) == (" This.", None)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("", "unknown"),
        ("[1]", "unknown"),
        ('{"tokens": 1}', "unknown"),
        ('{"token_ids": [1], "text": "other"}', "unknown"),
        ('{"error": "broken"}', "error"),
        ('{"error": {"message": "broken"}}', "error"),
        ("[" * 100_000, "unknown"),
    ],
)
def test_replies_without_an_answer(body: str, kind: str) -> None:
    assert kind_of(parse_generated, body, "p") == kind


@given(st.text(), st.text())
def test_no_output_is_a_crash(stdout: str, stderr: str) -> None:
    for call in (parse_run, parse_chat, parse_generated):
        with contextlib.suppress(AprAnswerError):
            assert isinstance(call(stdout, stderr).text, str)


@given(st.text(alphabet=st.characters(exclude_characters="\r\x1b", exclude_categories=["C"])))
def test_text_comes_through_as_it_is(text: str) -> None:
    assert parse_run(HEAD + json.dumps({"text": text}) + "\n").text == text or "[Error" in text
    assert parse_run(f"{HEAD}Output:\n{text}\n\nCompleted in 1.0s (cached)\n").text in {
        text,
        # Line breaks at the end cannot be told from the tool's own.
        text.rstrip("\n"),
    }


@pytest.mark.skipif(
    not _CORPUS.is_dir(),
    reason=f"the corpus of public files is not at {_CORPUS}; set APRQA_CORPUS to where it is",
)
def test_every_recorded_output_is_classified() -> None:
    kinds: Counter[tuple[str, str]] = Counter()
    for path in sorted(_CORPUS.glob("certifications/*/evidence.json")):
        for record in json.loads(path.read_text(encoding="utf-8")):
            output, modality = record["output"], record["scenario"]["modality"]
            if not output or not record["gate_id"].startswith(("F-A", "G2-", "G3-")):
                continue
            call = parse_chat if modality == "chat" else parse_run
            try:
                if output.startswith("{"):
                    answer = parse_generated(output, record["scenario"]["prompt"])
                else:
                    answer = call(output, record["stderr"] or "")
            except AprAnswerError as error:
                kinds[modality, error.kind] += 1
            else:
                kinds[modality, "answer"] += 1
                for banner in ("===", "Loaded", "\x1b", "Goodbye!", "Source: "):
                    assert banner not in answer.text
    # Every run was made with --benchmark, and so shows no text that could have been judged.
    assert ("run", "answer") not in kinds
    assert kinds["run", "figures-only"] > 50
    assert kinds["chat", "answer"] > 40
    assert kinds["chat", "error"] > 3
    assert kinds["chat", "not-loaded"] > 5
    assert kinds["serve", "answer"] > 20
