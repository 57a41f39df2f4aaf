"""Choosing the oracle of a prompt that names none."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from aprqa_ci.planning.arithmetic_question import MAX_PROMPT, find_expression
from aprqa_ci.planning.lexicon import lexicon
from aprqa_ci.planning.plan import OracleSpec

__all__ = ["PARSED_LANGUAGES", "choose_oracle", "code_language", "started_language"]

PARSED_LANGUAGES = ("python", "json")
"""The languages that the code_syntax oracle has a parser for."""

_STARTS = (
    (
        "python",
        re.compile(
            r"(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:]|from\s+[\w.]+\s+import\s"
            r"|import\s+\w+\s*$|@\w+[^\n]*\n(?:async\s+)?(?:def|class)\s",
            re.MULTILINE,
        ),
    ),
    ("rust", re.compile(r"(?:pub\s+)?fn\s+\w+\s*[(<]")),
    ("javascript", re.compile(r"(?:async\s+)?function\s+\w*\s*\(|const\s+\w+\s*=|let\s+\w+\s*=")),
    ("go", re.compile(r"func\s+\w+\s*\(|package\s+\w+")),
    ("cpp", re.compile(r"#include\s*<")),
)
"""How source code of a language starts, matched at the prompt's first character."""

_WORD = re.compile(r"c\+\+|c#|[a-z][a-z0-9]*")
_SENTENCE_END = re.compile(r"[.!?\n](?:\s|$)")


def started_language(prompt: str) -> str | None:
    """Return the language of source code that the prompt itself starts with, if any."""
    start = prompt[:MAX_PROMPT].lstrip()
    return next((language for language, pattern in _STARTS if pattern.match(start)), None)


def code_language(prompt: str) -> str | None:
    """Return the language of code that the prompt starts, or asks for by name.

    ``def f(a):`` starts Python. ``Write a Python function that …`` asks for it: a verb of making,
    the language and a word such as *function* in one sentence; for JSON the verb and the name
    suffice.
    """
    if len(prompt) > MAX_PROMPT:
        return None
    if started := started_language(prompt):
        return started
    known = lexicon()
    for sentence in _SENTENCE_END.split(prompt.lower()):
        words = _WORD.findall(sentence)
        for index, word in enumerate(words):
            language = known.languages.get(word, "")
            before = set(words[:index])
            if not language:
                continue
            if language == "json":
                if before & known.asks:
                    return language
            elif before & known.makes_code and known.code_words & set(words):
                return language
    return None


def choose_oracle(
    prompt: str, declared: Sequence[tuple[str, Mapping[str, Any]]] = ()
) -> OracleSpec:
    """Choose the oracle that can check most of an answer to this prompt.

    Code in a language that can be parsed comes first, then arithmetic when the prompt asks for the
    value of exactly one expression, else the response oracle.

    Args:
        prompt: the last message of the user.
        declared: the playbook's ``oracles`` as (type, config); the config of the chosen type is
            taken over.
    """
    settings = {kind: dict(config) for kind, config in declared}
    language = code_language(prompt)
    if language in PARSED_LANGUAGES:
        config = settings.get("code_syntax", {})
        config.pop("languages", None)
        return OracleSpec(kind="code_syntax", config={**config, "language": language})
    kind = "response"
    if language is None and find_expression(prompt) is not None:
        kind = "arithmetic"
    return OracleSpec(kind=kind, config=settings.get(kind, {}))
