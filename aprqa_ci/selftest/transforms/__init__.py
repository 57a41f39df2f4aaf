"""The changes of a model's files, by name: each breaks a copy of a sound model in one way."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aprqa_ci.execution.formats.convert import convert_safetensors_to_gguf
from aprqa_ci.selftest.transforms import documents, file_bytes, quantized, sharding, tensors
from aprqa_ci.selftest.transforms.place import NotApplicableError, one_file

__all__ = ["TRANSFORMS", "NotApplicableError", "apply_transform", "check_parameters"]

TRANSFORMS: Final[Mapping[str, Callable[..., None]]] = {
    "blocks": quantized.blocks,
    "chat-template": documents.chat_template,
    "flip-bits": file_bytes.flip_bits,
    "gguf-number": documents.gguf_number,
    "json-value": documents.json_value,
    "lost-bytes": documents.lost_bytes,
    "overwrite": file_bytes.overwrite,
    "remove": file_bytes.remove,
    "replace": file_bytes.replace,
    "requantize": quantized.requantize,
    "retype": quantized.retype,
    "shard": sharding.shard,
    "shuffle-merges": documents.shuffle_merges,
    "special-token": documents.special_token,
    "swap-tensors": tensors.swap_tensors,
    "swap-tokens": documents.swap_tokens,
    "tensor": tensors.tensor,
    "truncate": file_bytes.truncate,
}
"""The changes by name."""

_RECONVERT: Final = "reconvert"
"""A parameter of every change: the quantization whose GGUF file is made again of the broken source,
as it is when the source was broken before it was converted."""


def apply_transform(name: str, directory: Path, parameters: Mapping[str, Any]) -> None:
    """Break the model in ``directory``, in place.

    Raises:
        NotApplicableError: the model has no such file, tensor or setting.
        FormatError: the broken source cannot be converted.
    """
    given = dict(parameters)
    quantization = given.pop(_RECONVERT, None)
    TRANSFORMS[name](directory, **given)
    if quantization is not None:
        target = one_file(directory, f"*{quantization}.gguf")
        convert_safetensors_to_gguf(directory, target, quantization)


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Hold parameters against the change that they are for.

    Raises:
        TypeError: it does not take them, or needs others.
    """
    given = {key: value for key, value in parameters.items() if key != _RECONVERT}
    inspect.signature(TRANSFORMS[name]).bind(Path(), **given)
