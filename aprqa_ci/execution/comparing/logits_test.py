"""The test that two files give the same logits, token by token."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.comparing.findings import NothingComparedError, Seen
from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.engines.reference.loading import LoadedModel, load_model
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.model_files import ModelFiles

__all__ = ["same_logits"]

_Floats = npt.NDArray[np.float32]


def same_logits(
    model: ModelFiles, truth: ModelFiles, *, prompt: str, max_tokens: int, tolerance: float
) -> Seen:
    """INF-002: the logits after the prompt and each token of the ground truth's answer.

    Both files are computed by our own engine, one after the other, so what differs are the files.
    The model is led along the ground truth's answer; otherwise one token that differs would make
    all that follow incomparable.
    """
    if max_tokens < 1:
        what = "no token is to be compared"
        raise NothingComparedError(what)
    try:
        loaded = _loaded(truth)
    except FormatError as error:
        what = f"the ground truth cannot be loaded: {error}"
        raise NotJudgedError(what) from error
    theirs, tokens, answer = _answer(loaded, prompt, max_tokens)
    del loaded
    ours = _led(_loaded(model), tokens, answer, model.weights[0])
    if ours[0].shape != theirs[0].shape:
        what = f"{ours[0].size} logits a token and not {theirs[0].size}"
        return Seen(shown="the sizes of the vocabularies compared", problems=[what])
    with np.errstate(invalid="ignore"):
        apart = [np.abs(one - other) for one, other in zip(ours, theirs, strict=True)]
    largest = [float(each.max()) for each in apart]
    place = int(np.argmax(largest))
    token = int(np.argmax(apart[place]))
    found = largest[place]
    same = sum(int(one.argmax() == other.argmax()) for one, other in zip(ours, theirs, strict=True))
    holds = found <= tolerance
    return Seen(
        shown=f"{len(apart)} times {ours[0].size} logits compared; the largest difference is "
        f"{found:.4g}, at token {place} of the answer and {token} of the vocabulary; the tolerance "
        f"is {tolerance:g}",
        problems=[] if holds else [f"logits are off by {found:.4g}"],
        figures={
            "tokens": len(apart),
            "logits": ours[0].size,
            "largest_difference": found,
            "at_token": place,
            "at_vocabulary": token,
            "same_best": same,
            "tolerance": tolerance,
        },
    )


def _loaded(model: ModelFiles) -> LoadedModel:
    try:
        return load_model(model)
    except EngineAbsentError as error:
        raise NotJudgedError(str(error)) from error
    except ModelLoadError as error:
        raise FormatError(model.directory, str(error)) from error


def _answer(
    model: LoadedModel, prompt: str, max_tokens: int
) -> tuple[list[_Floats], list[int], list[int]]:
    """Return the logits of each token of the greedy answer, the prompt's tokens, the answer's."""
    tokens = model.tokenizer.encode(prompt)
    begin = model.tokenizer.model.bos_id
    if begin is not None and (not tokens or model.tokenizer.model.add_bos):
        tokens = [begin, *tokens]
    if not tokens:
        what = "the prompt becomes no token"
        raise NothingComparedError(what)
    logits, answer = [model.network.forward(tokens)], []
    while len(logits) < max_tokens and (token := int(logits[-1].argmax())) not in model.end_ids:
        answer.append(token)
        logits.append(model.network.forward([token]))
    return logits, tokens, answer


def _led(model: LoadedModel, tokens: list[int], answer: list[int], place: Path) -> list[_Floats]:
    rows = model.network.config.vocab_size
    if max([*tokens, *answer]) >= rows:
        what = f"the ground truth answers with tokens beyond the {rows} that this file has"
        raise FormatError(place, what)
    return [model.network.forward(part) for part in (tokens, *([token] for token in answer))]
