"""The bundled model's tokenizer: byte-level BPE with single digits, and its chat template."""

import random
from collections.abc import Iterator
from functools import lru_cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from scripts.tiny_model.samples import Curriculum, Sample

__all__ = [
    "CHAT_TEMPLATE",
    "END",
    "PAD",
    "START",
    "Encoder",
    "token_id",
    "tokenizer_config",
    "train_tokenizer",
]

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(size: int, *, samples: int = 20_000, seed: int = 0) -> Tokenizer:
    """Learn the merges from training text.

    Args:
        size: entries of the vocabulary, the three control tokens included.
        samples: how many training samples to read.
        seed: of the samples.
    """
    curriculum = Curriculum(random.Random(seed))

    def texts() -> Iterator[str]:
        for _ in range(samples):
            found = curriculum.draw()
            for question, answer in found.turns:
                yield f"user\n{question}"
                yield f"assistant\n{answer}" if not found.raw else answer
            if found.system is not None:
                yield f"system\n{found.system}"

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def tokenizer_config(context: int) -> dict[str, object]:
    """Return the content of ``tokenizer_config.json``."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": PAD,
        "eos_token": END,
        "unk_token": PAD,
        "pad_token": PAD,
        "additional_special_tokens": [START, END],
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": CHAT_TEMPLATE,
    }


def token_id(tokenizer: Tokenizer, token: str) -> int:
    """Return the number of a token that must be there.

    Raises:
        ValueError: it is not.
    """
    number: int | None = tokenizer.token_to_id(token)
    if number is None:
        what = f"the vocabulary lacks {token}"
        raise ValueError(what)
    return number


class Encoder:
    """Turns samples into tokens, and says which of them are answers."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._special = tokenizer
        self._plain = Tokenizer.from_str(tokenizer.to_str())
        self._plain.encode_special_tokens = True
        self._start = token_id(tokenizer, START)
        self._end = token_id(tokenizer, END)
        # Short texts come again and again; long ones hardly ever.
        self._ids = lru_cache(maxsize=20_000)(self._encoded)

    def encode(self, found: Sample) -> tuple[list[int], list[bool]]:
        """Return the tokens of a sample and, for each, whether the model is to say it."""
        tokens: list[int] = []
        spoken: list[bool] = []

        def add(ids: list[int], *, answer: bool = False) -> None:
            tokens.extend(ids)
            spoken.extend([answer] * len(ids))

        def message(role: str, content: str) -> None:
            text = self._ids(f"{role}\n{content}", plain=found.plain)
            add([self._start, *text, self._end, *self._ids("\n")])

        if found.raw:
            ((question, answer),) = found.turns
            add(self._ids(question))
            add([*self._ids(answer), self._end], answer=True)
            return tokens, spoken
        if found.system is not None:
            message("system", found.system)
        for number, (question, answer) in enumerate(found.turns):
            if number:
                add(self._ids("\n"))
            message("user", question)
            add([self._start, *self._ids("assistant\n")])
            add([*self._ids(answer), self._end], answer=True)
        return tokens, spoken

    def _encoded(self, text: str, *, plain: bool = False) -> list[int]:
        tokenizer = self._plain if plain else self._special
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids
