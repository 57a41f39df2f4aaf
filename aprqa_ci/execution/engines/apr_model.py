"""What is known here of a model that the ``apr`` tool holds: template, context, tokenizer.

The tool says little of a model, so what the files beside it say is read by our own readers. What
they cannot read is not known, and never guessed.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aprqa_ci.execution.engines.chat_template import (
    ChatTemplate,
    chat_template_from_gguf,
    load_chat_template,
)
from aprqa_ci.execution.engines.interface import ModelLoadError
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.tokenizer import load_tokenizer, tokenizer_from_gguf
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.weight_files import INDEX_NAME
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["UNKNOWN_CONTEXT", "AprModel", "describe_model"]

UNKNOWN_CONTEXT: Final = 4096
"""Where no file says how long the context is; the tool's own limits then decide."""


@dataclass(frozen=True, kw_only=True)
class AprModel:
    """A model as its files describe it."""

    path: Path
    """What the tool is given: the weights, or the index of their shards."""
    template: ChatTemplate | None
    context_length: int
    count_tokens: Callable[[str], int] | None
    """Counts the tokens of a text; nothing where the tokenizer cannot be read."""


def describe_model(model: ModelFiles) -> AprModel:
    """Read what the files say.

    Raises:
        ModelLoadError: a weight file is not there, or a template is damaged.
    """
    for path in model.weights:
        if not path.is_file():
            what = f"{path} is not there"
            raise ModelLoadError(what)
    path = model.weights[0] if len(model.weights) == 1 else model.directory / INDEX_NAME
    path = path.absolute()
    if model.format is ModelFormat.GGUF:
        return _from_gguf(path)
    counter = None
    # What our reader does not know may be fit for the tool.
    with contextlib.suppress(FormatError):
        counter = _counter(load_tokenizer(model.directory).encode)
    context = None
    with contextlib.suppress(FormatError):
        context = read_json_object(model.directory / "config.json").get("max_position_embeddings")
    return AprModel(
        path=path,
        template=load_chat_template(model.directory),
        context_length=_or_unknown(context),
        count_tokens=counter,
    )


def _from_gguf(path: Path) -> AprModel:
    try:
        with contextlib.closing(open_gguf(path)) as weights:
            metadata = dict(weights.metadata)
    except FormatError:
        # Whether it is damaged is for the tool to say, whose answer is judged.
        return AprModel(path=path, template=None, context_length=UNKNOWN_CONTEXT, count_tokens=None)
    counter = None
    with contextlib.suppress(FormatError):
        counter = _counter(tokenizer_from_gguf(metadata, path).encode)
    return AprModel(
        path=path,
        template=chat_template_from_gguf(metadata),
        context_length=_or_unknown(
            metadata.get(f"{metadata.get('general.architecture')}.context_length")
        ),
        count_tokens=counter,
    )


def _counter(encode: Callable[[str], list[int]]) -> Callable[[str], int]:
    return lambda text: len(encode(text))


def _or_unknown(length: object) -> int:
    known = isinstance(length, int) and not isinstance(length, bool) and length > 0
    return length if known and isinstance(length, int) else UNKNOWN_CONTEXT
