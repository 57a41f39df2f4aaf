"""What can be made of a model's SafeTensors where nobody has the files that a cell wants.

Only what was not found anywhere is made. Files that are there, and cannot be used as they lie, are
never replaced: that would hide what is wrong with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aprqa_ci.execution.formats.convert import QUANTIZATIONS
from aprqa_ci.execution.formats.json_files import json_object, read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig
from aprqa_ci.execution.formats.weights import FormatError
from aprqa_ci.execution.limits import Limits
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.resolve import ModelNotFoundError, resolve_model
from aprqa_ci.planning.model_size import placement_facts
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.quantizations import quantization_catalogue
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["Derivable", "find_model", "still_absent", "why_not_made", "why_not_made_of"]

_FLOAT32 = 4
_GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Derivable:
    """Files that are nowhere, and what they can be made of."""

    source: ModelFiles
    quantization: str
    absent: ModelNotFoundError
    """Where the files were looked for."""
    size_bytes: int
    """About how large the file will be; more than that only for sources of less than 16 bits."""
    tensor_bytes: int
    """The largest matrix in 32 bits: a conversion holds one at a time."""

    def lack_of_memory(self, limits: Limits, free_mb: int) -> str:
        """Say that too little memory is free to make it; nothing if enough is, or 0 is known."""
        needed = int(self.tensor_bytes * limits.convert_memory_factor) >> 20
        if not needed > free_mb > 0:
            return ""
        return (
            f"about {needed} MiB of memory are needed to make gguf {self.quantization} of "
            f"SafeTensors; {free_mb} MiB are free"
        )

    def lack_of_disk(self, cache: Path, free: int) -> str:
        """Say that too few bytes are free in our cache to keep it; nothing if enough are."""
        needed = self.size_bytes / _GB + placement_facts().least_free_gb
        if free / _GB >= needed:
            return ""
        return (
            f"{free / _GB:.1f} GB are free at {cache}; {needed:.1f} GB are needed to make gguf "
            f"{self.quantization} of SafeTensors"
        )


def find_model(
    model: PlannedModel,
    *,
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    environment: Mapping[str, str],
    home: Path,
) -> ModelFiles | Derivable:
    """Find the files of a model in one format, or else what they can be made of.

    The SafeTensors that they can be made of are looked for as any other files are, at the same
    revision. Nothing is made here.

    Args:
        model: the model, with its path as it is on this machine.
        format: the format wanted.
        quantization: the quantization wanted.
        environment: the environment variables.
        home: the user's home directory.

    Raises:
        ModelNotFoundError: the files are there and cannot be used, or they are not and cannot be
            made; it says where they were looked for, and why not.
    """
    find = partial(resolve_model, model, environment=environment, home=home)
    try:
        return find(format=format, quantization=quantization)
    except ModelNotFoundError as error:
        if not error.nowhere:
            raise
        absent = error
    reason = why_not_made(format, quantization)
    if reason or quantization is None:
        raise still_absent(absent, f"it cannot be made here {reason}")
    try:
        source = find(format=ModelFormat.SAFETENSORS, quantization=None)
        path = source.directory / "config.json"
        config = LlamaConfig.from_config_json(read_json_object(path), path)
        size = source.size_bytes
    except ModelNotFoundError as error:
        why = f"it cannot be made here of SafeTensors: {error.what.rstrip(':')}"
        raise still_absent(absent, why) from error
    except (FormatError, OSError) as error:
        why = f"it cannot be made here of the SafeTensors: {error}"
        raise still_absent(absent, why) from error
    bits = quantization_catalogue()[quantization].bits_per_weight
    return Derivable(
        source=source,
        quantization=quantization,
        absent=absent,
        size_bytes=int(size * bits / placement_facts().bits[ModelFormat.SAFETENSORS]),
        tensor_bytes=max(config.vocab_size, config.intermediate_size)
        * config.hidden_size
        * _FLOAT32,
    )


def still_absent(absent: ModelNotFoundError, reason: str) -> ModelNotFoundError:
    """Return the same error with the reason why the files could not be made either."""
    return ModelNotFoundError(absent.what, (*absent.looked_at, reason))


def why_not_made(format: ModelFormat, quantization: str | None) -> str:  # noqa: A002 - the word of the field
    """Return what keeps files of that kind from being made of any model; nothing if some are."""
    if format is not ModelFormat.GGUF:
        return f"as {format}"
    if quantization not in QUANTIZATIONS:
        named = "without a quantization" if quantization is None else f"in {quantization}"
        return f"{named} (known: {', '.join(QUANTIZATIONS)})"
    return ""


def why_not_made_of(config: bytes) -> str:
    """Return why nothing is made of a model with that ``config.json``; nothing if it is."""
    try:
        LlamaConfig.from_config_json(json_object(config, Path("config.json")))
    except FormatError as error:
        return str(error)
    return ""
