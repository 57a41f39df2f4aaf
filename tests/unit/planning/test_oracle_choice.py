from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.planning.arithmetic_question import MAX_PROMPT
from aprqa_ci.planning.oracle_choice import choose_oracle, code_language
from aprqa_ci.planning.plan import OracleSpec

DECLARED: list[tuple[str, dict[str, Any]]] = [
    ("garbage", {"max_repetition_ratio": 0.3}),
    ("arithmetic", {"tolerance": 0.01}),
    ("code_syntax", {"languages": ["python", "rust"], "required": False}),
    ("response", {"min_relevance": 0.3}),
]


@pytest.mark.parametrize(
    ("prompt", "kind", "config"),
    [
        ("What is 2+2?", "arithmetic", {"tolerance": 0.01}),
        ("def fibonacci(n):", "code_syntax", {"required": False, "language": "python"}),
        (
            "Write a Python function that returns 3 + 4",
            "code_syntax",
            {"required": False, "language": "python"},
        ),
        ("Reply in JSON.", "code_syntax", {"required": False, "language": "json"}),
        ("fn main() {", "response", {"min_relevance": 0.3}),
        ("fn f() { 2 + 2 }", "response", {"min_relevance": 0.3}),
        ("Why is the sky blue?", "response", {"min_relevance": 0.3}),
        ("", "response", {"min_relevance": 0.3}),
    ],
)
def test_the_oracle_fits_the_prompt(prompt: str, kind: str, config: dict[str, Any]) -> None:
    assert choose_oracle(prompt, DECLARED) == OracleSpec(kind=kind, config=config)


def test_nothing_need_be_declared_and_nothing_declared_is_changed() -> None:
    assert choose_oracle("What is 2+2?") == OracleSpec(kind="arithmetic")
    before = [(kind, dict(config)) for kind, config in DECLARED]
    choose_oracle("def f(a):", DECLARED)
    assert before == DECLARED


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("def f(a):", "python"),
        ("  class A:", "python"),
        ("import os", "python"),
        ("from os import path", "python"),
        ("@cache\ndef f():", "python"),
        ("@anna: hello", None),
        ("fn main() {", "rust"),
        ("function f() {", "javascript"),
        ("func main() {", "go"),
        ("#include <stdio.h>", "cpp"),
        ("Implement a class in C++.", "cpp"),
        ("Write a Rust program.", "rust"),
        ("Write about Python. A function is nice.", None),
        ("Explain this Python code", None),
        ("What is JSON?", None),
        ("Please answer with a JSON object.", "json"),
        ("Define a function add(a,b) that returns a+b.", None),
        ("def f(a):" + " " * MAX_PROMPT, None),
    ],
)
def test_the_language_of_code(prompt: str, language: str | None) -> None:
    assert code_language(prompt) == language


@given(st.text())
def test_never_fails(prompt: str) -> None:
    assert choose_oracle(prompt).kind in {"arithmetic", "code_syntax", "response"}
