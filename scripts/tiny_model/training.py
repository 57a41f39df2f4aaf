"""The training loop: a fixed number of steps, so that a recipe means one model."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from scripts.tiny_model.llama import Shape, hidden_states, initial_weights, logits
from scripts.tiny_model.optimizer import Optimizer
from scripts.tiny_model.packing import Packer
from scripts.tiny_model.quantization import rounded_weights
from scripts.tiny_model.samples import Curriculum
from scripts.tiny_model.tokenizer import Encoder

__all__ = ["Recipe", "train"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what comes out, the code apart."""

    vocabulary: int = 1024
    steps: int = 4800
    tokens: int = 2304
    """Tokens of one step, a little padding included. Steps of one size let the matrix library keep
    its kernels."""
    foretold: int = 640
    """Places of one step whose next token is foretold: the answers', and some of the prompts'."""
    rate: float = 4e-3
    """Learning rate of AdamW at its height."""
    matrix_rate: float = 0.004
    """Learning rate of Muon at its height."""
    warmup: int = 100
    """Steps until the height; a cosine falls from there to the last step."""
    prompt_weight: float = 0.03
    """What a foretold token of a prompt counts for, where an answer of n tokens counts for the
    square root of n in all. Above 0, so that the perplexity of a prompt means something."""
    quantized_from: float = 0.7
    """From this share of the steps on, every other step is made with weights rounded to q4_0, so
    that the smallest file answers as well as the others."""
    seed: int = 1

    def factor(self, step: int) -> float:
        """Return what the learning rates are multiplied by at that step."""
        decay = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return min(1.0, (step + 1) / self.warmup) * (0.01 + 0.99 * decay)


def train(
    recipe: Recipe, shape: Shape, encoder: Encoder, report: Callable[[str], None]
) -> dict[str, Tensor]:
    """Train a model from nothing.

    Args:
        recipe: how.
        shape: the model's dimensions.
        encoder: turns samples into tokens.
        report: gets a line of progress now and then.

    Returns:
        The weights by their published names, 32-bit.
    """
    packer = Packer(
        Curriculum(random.Random(recipe.seed)),
        encoder,
        size=recipe.tokens,
        foretold=recipe.foretold,
        seed=recipe.seed,
    )
    weights = initial_weights(shape, recipe.seed)
    optimizer = Optimizer(weights, rate=recipe.rate, matrix_rate=recipe.matrix_rate)
    started, average = time.process_time(), 0.0
    for step in range(recipe.steps):
        batch = packer.pack(step / recipe.steps, prompt_weight=recipe.prompt_weight)
        quantized = step % 2 == 1 and step >= recipe.quantized_from * recipe.steps
        used = rounded_weights(weights) if quantized else weights
        states = hidden_states(used, shape, batch.tokens, batch.blocks)
        scores = logits(used, states[batch.chosen])
        losses = functional.cross_entropy(scores, batch.targets, reduction="none")
        loss = (losses * batch.weight).sum() / batch.weight.sum()
        loss.backward()
        packer.record(batch, scores.detach().argmax(dim=-1))
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step(recipe.factor(step))
        average = loss.item() if step == 0 else 0.98 * average + 0.02 * loss.item()
        if step % 100 == 0 or step == recipe.steps - 1:
            seconds = time.process_time() - started
            report(
                f"step {step}: loss {average:.4f}, {seconds:.0f} CPU seconds, "
                f"{packer.progress_report()}"
            )
    return {name: value.detach() for name, value in weights.items()}
