"""What the ``apr`` tool answers: the answer alone, out of its banners, figures and colours.

The tool has answered in many shapes. Each that was recorded is known here by its own marks, and
text without any of them is no answer: a banner must never be judged as one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from aprqa_ci.plain_text import strip_ansi

__all__ = ["AprAnswer", "AprAnswerError", "parse_chat", "parse_generated", "parse_run"]

_TEXT_KEYS = ("text", "response", "output", "generated_text", "content")
_COUNT_KEYS = ("tokens_generated", "completion_tokens", "tokens")
_RATE_KEYS = ("tok_per_sec", "tokens_per_second", "tok_s")
_GENERATED = re.compile(r"^Generated (\d+) tokens in [\d.]+ ?ms \(([\d.]+) tok/s\)", re.MULTILINE)
_SOURCE = re.compile(r"^Source: (.+)$", re.MULTILINE)
_OUTPUT = re.compile(r"^Output:[ \t]*\n", re.MULTILINE)
_COMPLETED = re.compile(r"\n+Completed in [\d.]+ ?s\b[^\n]*\s*\Z")
_FIGURES = re.compile(r"^latency: [\d.]+ ?ms$", re.MULTILINE)
_ASSISTANT = re.compile(r"^You: \s*Assistant:[ ]?", re.MULTILINE)
_NEXT_TURN = re.compile(r"\n\nYou: \s*(?:Goodbye!\s*)?\Z")
_SAID_ERROR = re.compile(r"\[Error: (.*)\]\s*", re.DOTALL)
_MAX_OBJECTS = 64
_OBJECT_HEAD = re.compile(r"^\{", re.MULTILINE)
_DEMO = re.compile(r"^Loaded Demo format\b", re.MULTILINE)
_ELSEWHERE = re.compile(r"^Loaded tokenizer from HuggingFace cache: (\S+)", re.MULTILINE)
_ON_GPU = re.compile(r"^\[\w+ CUDA: ([^\]\n]+)\]", re.MULTILINE)
_OFF_GPU = re.compile(r"will use CPU|CANNOT serve this model|falling back to CPU", re.IGNORECASE)


class AprAnswerError(Exception):
    """An output holds no answer; ``kind`` says in which way."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        """``figures-only``: the tool measured and showed no text. ``error``: it says that it
        failed, though its exit code does not. ``not-loaded``: it answered without the model.
        ``unknown``: no shape that is known."""


@dataclass(frozen=True, kw_only=True)
class AprAnswer:
    """An answer, and what the tool says of it."""

    text: str
    tokens: int | None = None
    """The tokens of the answer, where the tool counted them."""
    tokens_per_second: float | None = None
    source: str | None = None
    """The file that the tool says it ran."""
    gpu: str | None = None
    """The device that the tool says it used; no proof."""
    fell_back: bool = False
    """Whether it says that it left the device for the processor."""
    foreign_tokenizer: str | None = None
    """A tokenizer of another model, from a cache, that it says it used."""


def parse_run(stdout: str, stderr: str = "") -> AprAnswer:
    """Return the answer of ``apr run``.

    Raises:
        AprAnswerError: there is none.
    """
    shown = _lines(stdout)
    notes = _notes(shown, _lines(stderr))
    if (start := _OUTPUT.search(shown)) is not None:
        text = _COMPLETED.sub("", shown[start.end() :]).removesuffix("\n")
        return AprAnswer(text=_not_an_error(text), **notes)
    found = _object_at_end(shown)
    if found is not None and (said := _text_of(found)) is not None:
        # What the tool itself counts as JSON goes before what it tells the reader.
        figures = {name: value for name, value in _figures(found).items() if value is not None}
        return AprAnswer(text=_not_an_error(said), **(notes | figures))
    if _FIGURES.search(shown) or found is not None:
        kind, what = "figures-only", "apr run showed figures and no text"
        raise AprAnswerError(kind, what)
    kind, what = "unknown", f"apr run showed no answer in a known shape: {shown.strip()[:200]!r}"
    raise AprAnswerError(kind, what)


def parse_chat(stdout: str, stderr: str = "") -> AprAnswer:
    """Return the last answer of ``apr chat``.

    Raises:
        AprAnswerError: there is none, or the model was not there to give it.
    """
    shown = _lines(stdout)
    notes = _notes(shown, _lines(stderr))
    if _DEMO.search(shown):
        kind, what = "not-loaded", "apr chat did not load the model: it says 'Loaded Demo format'"
        raise AprAnswerError(kind, what)
    starts = list(_ASSISTANT.finditer(shown))
    if not starts:
        # Without a conversation in it, the output may still be that of a run.
        return parse_run(stdout, stderr)
    text = _NEXT_TURN.sub("", shown[starts[-1].end() :])
    return AprAnswer(text=_not_an_error(text.removesuffix("\n")), **notes)


def parse_generated(body: bytes | str, prompt: str) -> AprAnswer:
    """Return the answer in a reply of ``POST /generate`` or of the tool's own completions.

    Some servers give the prompt and its continuation as one text, with the ids of both; their
    tokens cannot be told apart, and are not counted.

    Raises:
        AprAnswerError: there is none.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        kind, what = "unknown", f"the reply is not JSON: {error}"
        raise AprAnswerError(kind, what) from error
    if not isinstance(found, dict):
        kind, what = "unknown", "the reply is not a JSON object"
        raise AprAnswerError(kind, what)
    if "error" in found:
        kind, what = "error", f"the server says: {_error_text(found['error'])}"
        raise AprAnswerError(kind, what)
    text = _text_of(found)
    if text is None:
        kind, what = "unknown", f"the reply has no text but {', '.join(sorted(found))[:200]}"
        raise AprAnswerError(kind, what)
    if isinstance(found.get("token_ids"), list):
        if not text.startswith(prompt):
            kind, what = "unknown", "the reply does not begin with the prompt that it continues"
            raise AprAnswerError(kind, what)
        text = text.removeprefix(prompt)
    return AprAnswer(text=text, **_figures(found))


def _lines(text: str) -> str:
    return strip_ansi(text).replace("\r\n", "\n")


def _notes(stdout: str, stderr: str) -> dict[str, Any]:
    said = f"{stdout}\n{stderr}"
    counted = _GENERATED.search(said)
    source, gpu, elsewhere = (each.search(said) for each in (_SOURCE, _ON_GPU, _ELSEWHERE))
    return {
        "tokens": int(counted[1]) if counted else None,
        "tokens_per_second": float(counted[2]) if counted else None,
        "source": source[1].strip() if source else None,
        "gpu": gpu[1] if gpu else None,
        "fell_back": _OFF_GPU.search(said) is not None,
        "foreign_tokenizer": elsewhere[1] if elsewhere else None,
    }


def _object_at_end(shown: str) -> dict[str, Any] | None:
    """Return the JSON object that the output is, or ends with on a line of its own."""
    for start in islice(_OBJECT_HEAD.finditer(shown), _MAX_OBJECTS):
        try:
            found = json.loads(shown[start.start() :])
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None


def _text_of(found: Mapping[str, Any]) -> str | None:
    return next((found[key] for key in _TEXT_KEYS if isinstance(found.get(key), str)), None)


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    count = next((found[key] for key in _COUNT_KEYS if _is_number(found.get(key))), None)
    rate = next((found[key] for key in _RATE_KEYS if _is_number(found.get(key))), None)
    return {
        "tokens": count if isinstance(count, int) and count >= 0 else None,
        "tokens_per_second": None if rate is None else float(rate),
    }


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _not_an_error(text: str) -> str:
    if (said := _SAID_ERROR.fullmatch(text.strip())) is not None:
        kind = "error"
        raise AprAnswerError(kind, f"apr says: {said[1]}")
    return text


def _error_text(found: object) -> str:
    if isinstance(found, dict):
        found = found.get("message", found)
    return str(found)[:500]
