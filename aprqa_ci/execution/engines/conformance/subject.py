"""Which model an engine is checked with: the bundled one, or what a user names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aprqa_ci.data_files import BUNDLED, bundled_model
from aprqa_ci.errors import InputError, Problem
from aprqa_ci.execution.engines.interface import EngineInfo
from aprqa_ci.execution.model_files import ModelFiles, held_elsewhere
from aprqa_ci.execution.resolve import ModelNotFoundError, resolve_model
from aprqa_ci.planning.plan import PlannedModel
from aprqa_ci.vocabulary import ModelFormat, SizeCategory

__all__ = ["CheckedModel", "model_to_check"]

_BUNDLED_QUANTIZATION = "q8_0"
_TRUTH_FORMATS = (ModelFormat.GGUF, ModelFormat.SAFETENSORS)


@dataclass(frozen=True, kw_only=True)
class CheckedModel:
    """The model that an engine is checked with."""

    files: ModelFiles
    truth: ModelFiles | None
    """What the reference engine reads to say what is right; nothing when it reads none of it."""


def model_to_check(
    named: str,
    info: EngineInfo,
    *,
    format: ModelFormat | None,  # noqa: A002 - the word of the field
    quantization: str | None,
    environment: Mapping[str, str],
    home: Path,
) -> CheckedModel:
    """Find the model that a user names.

    Args:
        named: ``bundled``, a file, a directory, or a repository that is in a cache here.
        info: of the engine; its formats are looked for in their order.
        format: the format wanted; the first that is there unless given.
        quantization: for GGUF, which file of several.
        environment: the environment variables.
        home: the user's home directory.

    Raises:
        InputError: the model is not here in such a format.
    """
    model = _model(named)
    if named == BUNDLED and quantization is None:
        quantization = _BUNDLED_QUANTIZATION

    def find(formats: Iterable[ModelFormat]) -> ModelFiles | list[str]:
        lacks = []
        for each in formats:
            try:
                return resolve_model(
                    model,
                    format=each,
                    quantization=quantization if each is ModelFormat.GGUF else None,
                    environment=environment,
                    home=home,
                )
            except ModelNotFoundError as error:
                lacks.append(str(error))
        return lacks

    wanted: Sequence[ModelFormat] = info.formats if format is None else (format,)
    files = find(wanted)
    if isinstance(files, ModelFiles):
        own = files.format in _TRUTH_FORMATS
        truth = files if own else find((ModelFormat.SAFETENSORS,))
        return CheckedModel(files=files, truth=truth if isinstance(truth, ModelFiles) else None)
    if not info.needs_files:
        held = held_elsewhere(format or ModelFormat.SAFETENSORS, quantization)
        return CheckedModel(files=held, truth=None)
    raise InputError(
        Problem(what=text, hint=f"give {BUNDLED}, a file, a directory, or org/name of a cached one")
        for text in files or [f"engine {info.name} reads no format at all"]
    )


def _model(named: str) -> PlannedModel:
    path: Path | None = None
    if named == BUNDLED:
        path = bundled_model()
    elif Path(named).exists():
        path = Path(named).absolute()
    return PlannedModel(
        hf_repo=named if path is None else f"local/{path.name}",
        local_path=None if path is None else str(path),
        formats=tuple(ModelFormat),
        size_category=SizeCategory.TINY,
    )
