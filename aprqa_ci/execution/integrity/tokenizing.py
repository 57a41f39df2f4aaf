"""The gate that looks whether the tokenizer gives text back and knows where a turn ends."""

from aprqa_ci.execution.formats.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_gguf
from aprqa_ci.execution.formats.weights import UnsupportedFormatError
from aprqa_ci.execution.integrity.conversation import look_at_conversation
from aprqa_ci.execution.integrity.finding import NotJudgedError, Observation
from aprqa_ci.execution.integrity.special_tokens import special_token_problems
from aprqa_ci.execution.integrity.subject import Subject

__all__ = ["TEXTS", "judge_tokenizer"]

TEXTS = {
    "ASCII": "The quick brown fox jumps over the lazy dog, doesn't it?",
    "digits": "0123456789 42 3.14159 1,000,000",
    "blanks": " two  spaces, a\ttab,\na line\r\n\n and an end ",
    "code": "def f(x: int) -> str:\n    return {'a': [x ** 2]}  # <=>\n",
    "accents": "Žluťoučký kůň, naïve façade, straße, Ångström",
    "Arabic": "مرحبا بالعالم ١٢٣",
    "Hebrew": "שלום עולם",
    "Chinese": "你好世界。",
    "Hindi": "नमस्ते दुनिया",
    "emoji": "🙂 👩‍👩‍👧‍👦 🇩🇪 👍🏽",
    "control": "null\x00 bell\x07 delete\x7f",
    "special token": "<|im_end|> </s> [INST]",
}
"""Texts of several kinds, each in Unicode normal form C."""


def judge_tokenizer(subject: Subject) -> Observation:
    """Encode and decode texts of several kinds, and look at special tokens and chat template.

    How tokens are marked and what the template makes of a conversation can be seen where the kind
    of tokenizer is not read here; to pass, that alone is not enough.
    """
    # Reads the list of tokens first: that can be damaged where the kind is not read here.
    problems: list[str] = []
    try:
        tokens = len(subject.token_list.tokens)
        conversation = look_at_conversation(subject)
        problems = [*special_token_problems(subject), *conversation.problems]
        tokenizer = (
            tokenizer_from_gguf(subject.weights.metadata)
            if subject.is_gguf
            else load_tokenizer(subject.files.directory)
        )
    except UnsupportedFormatError as error:
        if problems:
            return Observation(problems=tuple(problems), shown="")
        msg = f"the tokenizer is of a kind that is not read here ({error})"
        raise NotJudgedError(msg) from error
    for name, text in TEXTS.items():
        back, count = _round_trip(tokenizer, text)
        if not count:
            problems.append(f"{name}: the text becomes no token at all")
        elif back != text:
            problems.append(f"{name}: {text!r} comes back as {back!r}")
    kinds = ", ".join(TEXTS)
    return Observation(
        problems=tuple(problems),
        shown=f"{len(TEXTS)} texts ({kinds}) come back from a tokenizer of {tokens} tokens; "
        f"{conversation.shown}",
    )


def _round_trip(tokenizer: Tokenizer, text: str) -> tuple[str, int]:
    ids = tokenizer.encode(text, parse_special=False)
    return tokenizer.decode(ids, skip_special=False), len(ids)
