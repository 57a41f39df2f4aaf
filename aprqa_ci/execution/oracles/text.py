"""What a model said, freed of what the way here put around it."""

import json
import re
from dataclasses import dataclass
from typing import Any

from aprqa_ci.execution.oracles.json_text import parse_json

__all__ = ["MAX_JUDGED", "PlainAnswer", "fenced_blocks", "plain_answer", "plain_text", "quoted"]

MAX_JUDGED = 65_536
"""Characters of an answer that are judged; the rest is not looked at, and the reason says so."""

_MAX_READ = 1 << 20
"""Characters that are read at all, so that an envelope around a long answer is still understood."""

# ECMA-48 in its seven-bit form: CSI sequences; the strings OSC, DCS, SOS, PM and APC up to their
# terminator (or the end of the line, for one that was cut); escapes of two or three characters. The
# eight-bit form is left in: in decoded text those characters are damage, not colours.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*+[ -/]*+[@-~]?"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*+(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*+[0-~]"
)
_LINE_END = re.compile(r"\r++\n|\r")

_CONTENT_KEYS = ("text", "generated_text", "content", "response")
_METADATA_KEYS = frozenset(
    [
        *("created", "created_at", "done", "done_reason", "duration_ms", "eval_count"),
        *("eval_duration", "finish_reason", "id", "index", "latency_ms", "load_duration"),
        *("logprobs", "model", "num_generated", "object", "prompt_eval_count"),
        *("prompt_eval_duration", "prompt_tokens", "completion_tokens", "role", "stop"),
        *("stop_reason", "system_fingerprint", "timings", "tok_per_sec", "token_ids", "tokens"),
        *("tokens_generated", "tokens_per_second", "total_duration", "type", "usage", "context"),
    ]
)
"""Keys that a server writes beside the answer. Any other key makes the object an answer itself."""


@dataclass(frozen=True, kw_only=True)
class PlainAnswer:
    """An answer ready to be judged."""

    text: str
    cut: bool = False
    """Whether only the first :data:`MAX_JUDGED` characters are there."""

    @property
    def note(self) -> str:
        """What a reason must add about the answer, or nothing."""
        return f"; only the first {MAX_JUDGED} characters were judged" if self.cut else ""


def plain_text(answer: str) -> str:
    r"""Return the answer without terminal escapes and envelope, with ``\n`` as its line end.

    Doing it twice changes nothing more.

    Args:
        answer: what the engine returned. A JSON object that only a server writes
            (``{"text": …, "latency_ms": …}``, an OpenAI body with ``choices``) is an envelope and
            its content is taken; JSON of any other shape is the answer itself and stays.
    """
    return plain_answer(answer).text


def plain_answer(answer: str) -> PlainAnswer:
    """Like :func:`plain_text`, and say whether the answer had to be cut."""
    cut = len(answer) > _MAX_READ
    text = _clean(answer[:_MAX_READ])
    while (inner := _content(text)) is not None:
        text = _clean(inner)
    if len(text) > MAX_JUDGED:
        return PlainAnswer(text=plain_answer(text[:MAX_JUDGED]).text, cut=True)
    return PlainAnswer(text=text, cut=cut)


def _clean(text: str) -> str:
    # An escape that none of the patterns knows is damage, and is made visible as such.
    text = _ESCAPES.sub("", text).replace("\x1b", "\ufffd")
    return _LINE_END.sub("\n", text)


def _content(text: str) -> str | None:
    """Return the content of an envelope, or nothing when the text is none."""
    stripped = text.strip()
    if not (stripped.startswith("{") and stripped.endswith("}")):
        return None
    try:
        body = parse_json(stripped)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return _chosen(choices[0])
    message = body.get("message")
    if isinstance(message, dict) and message.get("role") == "assistant":
        return _string(message.get("content"))
    for key in _CONTENT_KEYS:
        if isinstance(body.get(key), str) and _METADATA_KEYS.issuperset(body.keys() - {key}):
            return _string(body[key])
    return None


def _chosen(choice: dict[str, Any]) -> str | None:
    """Return the text of one choice of an OpenAI body."""
    for key in ("message", "delta"):
        message = choice.get(key)
        if isinstance(message, dict):
            return _string(message.get("content"))
    return _string(choice.get("text"))


def _string(value: object) -> str | None:
    return value if isinstance(value, str) else None


_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)")


@dataclass(frozen=True, kw_only=True)
class FencedBlock:
    """A code block of Markdown."""

    language: str
    """The first word after the fence, in lower case, or nothing."""
    code: str
    closed: bool
    """Whether its end was seen; the token limit may have cut it."""


def fenced_blocks(text: str) -> list[FencedBlock]:
    """Return the fenced code blocks of a Markdown text in order."""
    blocks: list[FencedBlock] = []
    fence = language = ""
    lines: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if not fence:
            if match:
                fence, language, lines = match[1], match[2].lower(), []
        elif match and match[1].startswith(fence) and not line[match.end() :].strip():
            blocks.append(FencedBlock(language=language, code="\n".join(lines), closed=True))
            fence = ""
        else:
            lines.append(line)
    if fence:
        blocks.append(FencedBlock(language=language, code="\n".join(lines), closed=False))
    return blocks


def quoted(text: str, limit: int = 60) -> str:
    """Quote a text for a reason: one line, control characters escaped, at most ``limit`` long."""
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return json.dumps(shown, ensure_ascii=not shown.isprintable())
