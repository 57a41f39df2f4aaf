"""Whether a broken model is the sound one still, shown by what it computes.

A mutant that no reader can tell from the sound model is no mutant. The proof is that the reference
engine gives the same logits, bit by bit, for every prompt of the plan and for every token of the
sound model's answer, from every weight file of the model.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from aprqa_ci.execution.engines.chat_template import PLAIN_TEMPLATE
from aprqa_ci.execution.engines.interface import (
    EngineAbsentError,
    EngineFailedError,
    Message,
    ModelLoadError,
)
from aprqa_ci.execution.engines.reference.loading import LoadedModel, load_model
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["proof_of_equivalence"]

_ANSWER_TOKENS = 8
_MOST_PROMPTS = 24
_CONVERSATIONS = (
    (Message(role="system", content="Be brief."), Message(role="user", content="Why?")),
    (
        Message(role="user", content="One"),
        Message(role="assistant", content="Two"),
        Message(role="user", content="Three"),
    ),
)
"""What templates may treat differently, beside a question alone."""


def proof_of_equivalence(
    sound: Path,
    broken: Path,
    prompts: Sequence[str],
    load: Callable[[ModelFiles], LoadedModel] = load_model,
) -> str:
    """Return what shows that two models are the same, or nothing.

    Args:
        sound: the directory of the sound model.
        broken: that of the broken one.
        prompts: what both are asked, the first two dozen.
        load: opens a model.
    """
    pairs = list(_pairs(sound, broken))
    prompts = prompts[:_MOST_PROMPTS]
    if not pairs or not prompts:
        return ""
    tokens = 0
    try:
        for ours, theirs in pairs:
            count = _same(load(ours), load(theirs), prompts)
            if count is None:
                return ""
            tokens += count
    except (ModelLoadError, EngineAbsentError, EngineFailedError):
        return ""
    files = ", ".join(ours.weights[0].name for ours, _ in pairs)
    return (
        f"equal prompt tokens and bit-equal logits for {tokens} tokens of {len(prompts)} prompts"
        f" in each of {files}"
    )


def _pairs(sound: Path, broken: Path) -> Iterator[tuple[ModelFiles, ModelFiles]]:
    for path in sorted(sound.iterdir()):
        kind = {".gguf": ModelFormat.GGUF, ".safetensors": ModelFormat.SAFETENSORS}.get(path.suffix)
        other = broken / path.name
        if kind is None:
            continue
        ours = ModelFiles(format=kind, weights=(path,), directory=sound, source="local_path")
        weights = (other,) if other.exists() else tuple(sorted(broken.glob("*.safetensors")))
        yield (
            ours,
            ModelFiles(format=kind, weights=weights, directory=broken, source="local_path"),
        )


def _same(ours: LoadedModel, theirs: LoadedModel, prompts: Sequence[str]) -> int | None:
    """Return how many tokens gave the same logits; nothing when one did not."""
    if ours.end_ids != theirs.end_ids:
        return None
    if ours.tokenizer.special_ids != theirs.tokenizer.special_ids:
        return None
    if any(_rendered(ours, each) != _rendered(theirs, each) for each in _CONVERSATIONS):
        return None
    compared = 0
    for prompt in prompts:
        first, second = (
            each.tokenizer.encode(_rendered(each, (Message(role="user", content=prompt),)))
            for each in (ours, theirs)
        )
        if first != second or not first:
            return None
        ours.network.reset()
        theirs.network.reset()
        pending = first
        for _ in range(_ANSWER_TOKENS):
            logits, others = ours.network.forward(pending), theirs.network.forward(pending)
            if not np.array_equal(logits, others):
                return None
            compared += 1
            pending = [int(logits.argmax())]
            if pending[0] in ours.end_ids:
                break
            if ours.tokenizer.decode(pending) != theirs.tokenizer.decode(pending):
                return None
    return compared


def _rendered(model: LoadedModel, messages: Sequence[Message]) -> str:
    return (model.template or PLAIN_TEMPLATE).render(messages)
