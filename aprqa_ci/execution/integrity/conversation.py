"""What the chat template makes of a conversation: whether it keeps every word, and ends a turn."""

import re
from dataclasses import dataclass

from aprqa_ci.execution.engines.chat_template import (
    ChatTemplate,
    ConversationRefusedError,
    chat_template_from_gguf,
    load_chat_template,
)
from aprqa_ci.execution.engines.interface import EngineFailedError, Message, ModelLoadError
from aprqa_ci.execution.integrity.special_tokens import end_tokens
from aprqa_ci.execution.integrity.subject import Subject

__all__ = ["Conversation", "look_at_conversation"]

_SYSTEM, _FIRST, _REPLY, _SECOND = (
    "The system says marmalade.",
    "The user asks about lanterns.",
    "The assistant speaks of harbours.",
    "The user goes on to windmills.",
)
"""Words that no template says by itself and none takes out: templates of models that think drop
what stands between their marks of thought, and many trim blanks."""
_TALK = (
    Message(role="user", content=_FIRST),
    Message(role="assistant", content=_REPLY),
    Message(role="user", content=_SECOND),
)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What was seen of the template."""

    problems: tuple[str, ...] = ()
    shown: str
    """What the template does, where there is no problem; or why nothing is said of it."""


def look_at_conversation(subject: Subject) -> Conversation:
    """Render conversations with words that can be found again.

    A template may refuse a conversation in words of its own (``raise_exception``), as those do that
    know no system message; what it may not is to leave a message out and say nothing. A template
    that fails otherwise is not judged here: every question of the cell meets it.

    Raises:
        FormatError: the files that name the end tokens are damaged.
    """
    try:
        template = (
            chat_template_from_gguf(subject.weights.metadata)
            if subject.is_gguf
            else load_chat_template(subject.files.directory)
        )
    except ModelLoadError as error:
        return Conversation(problems=(str(error),), shown="")
    if template is None:
        return Conversation(shown="there is no chat template")
    system = Message(role="system", content=_SYSTEM)
    problems: list[str] = []
    kept: list[str] = []
    for what, messages in (
        ("a conversation", _TALK),
        ("a system message", (system, *_TALK[:1])),
        ("a conversation with a system message", (system, *_TALK)),
    ):
        try:
            text = template.render(messages)
        except EngineFailedError as error:
            if not isinstance(error, ConversationRefusedError):
                return Conversation(shown=f"the chat template was not judged ({error})")
            kept.append(f"refuses {what}")
            continue
        lost = _lost(text, messages)
        problems += [f"the chat template drops {lost} of {what}"] if lost else []
        kept.append(f"keeps {what}")
    if not problems:
        problems = _end_problems(subject, template)
    return Conversation(problems=tuple(problems), shown=f"the chat template {' and '.join(kept)}")


def _lost(text: str, messages: tuple[Message, ...]) -> str:
    """Return whose message is missing, or does not come in its turn; nothing when none is."""
    at = 0
    for message in messages:
        found = text.find(message.content, at)
        if found < 0:
            return f"the {message.role}'s message"
        # Where the system's message stands is the template's affair: some put it before the last
        # question.
        at = at if message.role == "system" else found + len(message.content)
    return ""


def _end_problems(subject: Subject, template: ChatTemplate) -> list[str]:
    """Return a problem when an answer that ends as the template has it would never end.

    The first token of control after the assistant's words is what the model learned to end with.
    Where it is none of the end tokens, answers run on into a next turn. Of a template that ends the
    last answer in another way than earlier ones, either counts.
    """
    ends, tokens = end_tokens(subject), subject.token_list
    marks = sorted((tokens.tokens[index] for index in tokens.added), key=len, reverse=True)
    if not marks or not ends:
        return []
    ids = {tokens.tokens[index]: index for index in tokens.added}
    pattern = re.compile("|".join(map(re.escape, filter(None, marks))))
    found: list[str] = []
    for messages in (_TALK[:2], _TALK):
        try:
            text = template.render(messages, add_generation_prompt=False)
        except EngineFailedError:
            continue
        after = text.partition(_REPLY)[2].partition(_SECOND)[0]
        mark = pattern.search(after)
        if mark is None:
            return []
        if ids[mark.group()] in ends:
            return []
        found.append(mark.group())
    if not found:
        return []
    said = ", ".join(repr(tokens.tokens.get(index, index)) for index in sorted(ends))
    problem = f"the chat template ends an answer with {found[0]!r}, which is no end token ({said})"
    return [problem]
