"""The test that the tokenizers of two files are one."""

from aprqa_ci.execution.comparing.findings import Seen
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.tokenizer import Tokenizer, load_tokenizer, tokenizer_from_gguf
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.integrity.tokenizing import TEXTS
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["same_tokenizer"]


def same_tokenizer(model: ModelFiles, truth: ModelFiles | None) -> Seen:
    """I-5: texts come back, and become the same tokens as with the ground truth's tokenizer.

    Without a ground truth, or for the ground truth itself, they only have to come back.
    """
    ours = _tokenizer(model)
    theirs = None if truth is None or truth.weights == model.weights else _truths(truth)
    problems, tokens = [], 0
    for name, text in TEXTS.items():
        ids = ours.encode(text, parse_special=False)
        tokens += len(ids)
        if not ids:
            problems.append(f"{name}: the text becomes no token at all")
        elif (back := ours.decode(ids, skip_special=False)) != text:
            problems.append(f"{name}: {text!r} comes back as {back!r}")
        elif theirs is not None and (other := theirs.encode(text, parse_special=False)) != ids:
            place = next(
                (
                    number
                    for number, pair in enumerate(zip(ids, other, strict=False))
                    if pair[0] != pair[1]
                ),
                min(len(ids), len(other)),
            )
            problems.append(f"{name}: another token than the ground truth's at {place}")
    against = "" if theirs is None else ", the same as the ground truth's"
    return Seen(
        shown=f"{len(TEXTS)} texts become {tokens} tokens{against}",
        problems=problems,
        figures={"texts": len(TEXTS), "tokens": tokens, "compared": theirs is not None},
    )


def _truths(truth: ModelFiles) -> Tokenizer:
    try:
        return _tokenizer(truth)
    except FormatError as error:
        what = f"the ground truth's tokenizer cannot be read: {error}"
        raise NotJudgedError(what) from error


def _tokenizer(model: ModelFiles) -> Tokenizer:
    if model.format is ModelFormat.SAFETENSORS:
        return load_tokenizer(model.directory)
    if model.format is not ModelFormat.GGUF:
        what = f"the tokenizer of a file of {model.format} is not read here"
        raise NotJudgedError(what)
    path = model.weights[0]
    opened = open_gguf(path)
    metadata = opened.metadata
    opened.close()
    return tokenizer_from_gguf(metadata, path)
