"""What can be made of a model's SafeTensors where nobody has the files that a cell wants.

GGUF files are made by our own converter, APR files by the engine ``apr`` where that is here.

Only what was not found anywhere is made. Files that are there, and cannot be used as they lie, are
never replaced: that would hide what is wrong with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aprqa_ci.execution.converters import APR_ENGINE
from aprqa_ci.execution.derived_files import FindConverter
from aprqa_ci.execution.engines.interface import EngineAbsentError
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
_WIDENED = 2
"""How many times as large an APR file is at most: 16 bits were seen to become 32."""
_GB = 10**9


@dataclass(frozen=True, kw_only=True)
class Derivable:
    """Files that are nowhere, and what they can be made of."""

    source: ModelFiles
    format: ModelFormat
    quantization: str | None
    absent: ModelNotFoundError
    """Where the files were looked for."""
    size_bytes: int
    """About how large the file will be; more than that only for sources of less than 16 bits."""
    tensor_bytes: int = 0
    """The largest matrix in 32 bits: our own conversion holds one at a time."""

    @property
    def name(self) -> str:
        """What is made, in words."""
        return f"{self.format} {self.quantization}" if self.quantization else str(self.format)

    def lack_of_memory(self, limits: Limits, free_mb: int) -> str:
        """Say that too little memory is free to make it; nothing if enough is, or 0 is known."""
        needed = int(self.tensor_bytes * limits.convert_memory_factor) >> 20
        if self.format is ModelFormat.APR:
            needed = limits.memory_needed_mb(APR_ENGINE, self.source.size_bytes)
        if not needed > free_mb > 0:
            return ""
        return (
            f"about {needed} MiB of memory are needed to make {self.name} of "
            f"SafeTensors; {free_mb} MiB are free"
        )

    def lack_of_disk(self, cache: Path, free: int) -> str:
        """Say that too few bytes are free in our cache to keep it; nothing if enough are."""
        needed = self.size_bytes / _GB + placement_facts().least_free_gb
        if free / _GB >= needed:
            return ""
        return (
            f"{free / _GB:.1f} GB are free at {cache}; {needed:.1f} GB are needed to make "
            f"{self.name} of SafeTensors"
        )


def find_model(
    model: PlannedModel,
    *,
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    environment: Mapping[str, str],
    home: Path,
    converter: FindConverter,
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
        converter: finds what converts APR files.

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
    if reason := why_not_made(format, quantization, converter):
        raise still_absent(absent, f"it cannot be made here {reason}")
    try:
        source = find(format=ModelFormat.SAFETENSORS, quantization=None)
        size = source.size_bytes
        if format is ModelFormat.APR:
            # What its converter knows is for that to say.
            return Derivable(
                source=source,
                format=format,
                quantization=None,
                absent=absent,
                size_bytes=_WIDENED * size,
            )
        path = source.directory / "config.json"
        config = LlamaConfig.from_config_json(read_json_object(path), path)
    except ModelNotFoundError as error:
        why = f"it cannot be made here of SafeTensors: {error.what.rstrip(':')}"
        raise still_absent(absent, why) from error
    except (FormatError, OSError) as error:
        why = f"it cannot be made here of the SafeTensors: {error}"
        raise still_absent(absent, why) from error
    assert quantization is not None  # noqa: S101 - else it is not made, as asked above
    bits = quantization_catalogue()[quantization].bits_per_weight
    return Derivable(
        source=source,
        format=format,
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


def why_not_made(
    format: ModelFormat,  # noqa: A002 - the word of the field
    quantization: str | None,
    converter: FindConverter,
) -> str:
    """Return what keeps files of that kind from being made of any model; nothing if some are."""
    if format is ModelFormat.APR:
        try:
            converter()
        except EngineAbsentError as error:
            return f"as {format}: {error}"
        return ""
    if format is not ModelFormat.GGUF:
        return f"as {format}"
    if quantization not in QUANTIZATIONS:
        named = "without a quantization" if quantization is None else f"in {quantization}"
        return f"{named} (known: {', '.join(QUANTIZATIONS)})"
    return ""


def why_not_made_of(config: bytes, format: ModelFormat) -> str:  # noqa: A002 - the word of the field
    """Return why nothing is made of a model with that ``config.json``; nothing if it is."""
    if format is ModelFormat.APR:
        return ""
    try:
        LlamaConfig.from_config_json(json_object(config, Path("config.json")))
    except FormatError as error:
        return str(error)
    return ""
