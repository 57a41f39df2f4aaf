"""Packing samples of unequal length into steps of equal size, with little padding."""

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from scripts.tiny_model.llama import Block
from scripts.tiny_model.samples import Curriculum
from scripts.tiny_model.tokenizer import Encoder

__all__ = ["Batch", "Packer"]

_FULL = 0.9
"""Share of a step that samples are drawn for; the rest is for padding."""
_ALIKE = 0.85
"""Samples go into one block when the shortest has this share of the longest's tokens."""


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    origin: str
    tokens: list[int]
    spoken: list[bool]
    """Which tokens are answers."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The samples of one step, one behind the other."""

    tokens: Tensor
    blocks: tuple[Block, ...]
    chosen: Tensor
    """The places whose next token is to be foretold: those of answers, and some of prompts."""
    targets: Tensor
    """The token that follows each chosen place."""
    weight: Tensor
    """What foretelling it counts for."""
    sample_of: Tensor
    """Which sample each chosen place is an answer in, counted from 0; -1: it is in a prompt."""
    origins: tuple[str, ...]
    """Of every sample."""


class Packer:
    """Fills steps with samples and tells the curriculum how they were answered.

    Args:
        curriculum: gives the samples.
        encoder: turns them into tokens.
        size: tokens of one step, padding included.
        foretold: places of one step whose next token is foretold.
        seed: of the choice among the prompts' places.
    """

    def __init__(
        self, curriculum: Curriculum, encoder: Encoder, *, size: int, foretold: int, seed: int
    ) -> None:
        self._curriculum = curriculum
        self._encoder = encoder
        self._size = size
        self._foretold = foretold
        self._generator = random.Random(seed)
        self._kept: list[_Encoded] = []

    def pack(self, progress: float, *, prompt_weight: float) -> Batch:
        """Return the next batch.

        Args:
            progress: how much of the training is over, 0 to 1.
            prompt_weight: what a chosen token of a prompt counts for, where an answer of n tokens
                counts for the square root of n in all.
        """
        samples, self._kept = self._kept, []
        while sum(len(item.tokens) for item in samples) < _FULL * self._size:
            found = self._curriculum.draw(progress)
            tokens, spoken = self._encoder.encode(found)
            samples.append(_Encoded(origin=found.origin, tokens=tokens, spoken=spoken))
        samples.sort(key=lambda item: len(item.tokens), reverse=True)
        while (blocks := _blocks(samples))[-1].end > self._size:
            self._kept.append(samples.pop(len(samples) // 2))
        return self._filled(samples, blocks, prompt_weight)

    def record(self, batch: Batch, foretold: Tensor) -> None:
        """Tell the curriculum which samples were answered without a mistake."""
        wrong = (foretold != batch.targets) & (batch.sample_of >= 0)
        mistaken = set(batch.sample_of[wrong].tolist())
        for number, origin in enumerate(batch.origins):
            self._curriculum.record(origin, right=number not in mistaken)

    def progress_report(self) -> str:
        """Return the moving share of right answers and the entries that are worst."""
        errors = self._curriculum.errors
        share = 1 - sum(errors.values()) / len(errors)
        worst = sorted(errors, key=lambda origin: -errors[origin])[:5]
        named = ", ".join(f"{origin} {1 - errors[origin]:.2f}" for origin in worst)
        return f"{share:.3f} right of late; worst: {named}"

    def _filled(
        self, samples: list[_Encoded], blocks: tuple[Block, ...], prompt_weight: float
    ) -> Batch:
        tokens = torch.zeros(self._size, dtype=torch.long)
        answers: list[tuple[int, float, int]] = []
        prompts: list[tuple[int, float, int]] = []
        starts = (
            block.start + number * block.length
            for block in blocks
            for number in range(block.samples)
        )
        for sample, (start, item) in enumerate(zip(starts, samples, strict=True)):
            tokens[start : start + len(item.tokens)] = torch.tensor(item.tokens)
            answer_weight = sum(item.spoken) ** -0.5
            for place, said in enumerate(item.spoken[1:], start):
                if said:
                    answers.append((place, answer_weight, sample))
                else:
                    prompts.append((place, prompt_weight, -1))
        self._generator.shuffle(answers)
        self._generator.shuffle(prompts)
        places, weight, sample_of = zip(*(answers + prompts)[: self._foretold], strict=True)
        chosen = torch.tensor(places)
        return Batch(
            tokens=tokens,
            blocks=blocks,
            chosen=chosen,
            targets=tokens[chosen + 1],
            weight=torch.tensor(weight),
            sample_of=torch.tensor(sample_of),
            origins=tuple(item.origin for item in samples),
        )


def _blocks(samples: list[_Encoded]) -> tuple[Block, ...]:
    """Divide samples, longest first, into blocks of similar lengths."""
    blocks: list[Block] = []
    for item in samples:
        last = blocks[-1] if blocks else None
        if last and len(item.tokens) >= _ALIKE * last.length:
            blocks[-1] = Block(start=last.start, samples=last.samples + 1, length=last.length)
        else:
            start = last.end if last else 0
            blocks.append(Block(start=start, samples=1, length=len(item.tokens)))
    return tuple(blocks)
