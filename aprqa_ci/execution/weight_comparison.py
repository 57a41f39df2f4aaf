"""Comparing weights, tensor by tensor, after conversion and back.

SafeTensors go forth to GGUF and back. A GGUF file is compared with the SafeTensors ground truth;
without one it goes forth to SafeTensors and back. An APR file is converted to SafeTensors, which
are compared with the ground truth.
"""

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.derived_files import FindConverter, no_converter
from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.formats.convert import (
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig, as_hf_tensor, gguf_name
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError, WeightFile
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.execution.quantization_error import (
    NO_EXCESS,
    Excess,
    TensorExcess,
    excess_error,
    excess_of,
)
from aprqa_ci.vocabulary import ModelFormat

__all__ = ["WeightComparison", "compare_weights", "relative_error"]


@dataclass(frozen=True, kw_only=True)
class WeightComparison:
    """How far weights are from those that they are compared with."""

    tensors: int
    """How many were compared."""
    worst_tensor: str
    worst_error: float
    """The largest relative root-mean-square error of a tensor."""
    exact: bool
    """Whether every value is the same."""
    reason: str = ""
    """Why nothing could be compared."""
    excess: Excess = NO_EXCESS
    """The errors over those of quantizing the ground truth anew."""


def relative_error(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> float:
    """Return the root-mean-square difference over the root mean square of ``theirs``.

    Arrays of different shapes, and such as hold NaN or infinities, are infinitely far apart.
    """
    if ours.shape != theirs.shape:
        return float("inf")
    if not ours.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        difference = np.subtract(ours, theirs, dtype=np.float64)
    error = float(np.sqrt(np.mean(np.square(difference))))
    scale = float(np.sqrt(np.mean(np.square(theirs, dtype=np.float64))))
    if not np.isfinite(error) or not np.isfinite(scale):
        return float("inf")
    if error == 0.0:
        return 0.0
    return error / scale if scale else float("inf")


def compare_weights(
    model: ModelFiles,
    ground_truth: ModelFiles | None,
    *,
    scratch: Path,
    converter: FindConverter = no_converter,
) -> WeightComparison:
    """Compare a model's weights with those that they must be.

    Args:
        model: the model.
        ground_truth: the SafeTensors that a GGUF or APR file must agree with, if there are any.
        scratch: an empty directory for converted files.
        converter: finds what converts APR files.

    Raises:
        ModelLoadError: a file is damaged.
        EngineAbsentError: the architecture or a type is not known to the converters, or there is
            no converter of APR files.
    """
    with _format_errors():
        if model.format is ModelFormat.SAFETENSORS:
            target = scratch / "forth.gguf"
            convert_safetensors_to_gguf(model.directory, target, "f32", weights=model.weights)
            return _compare(target, model)
        if model.format is ModelFormat.APR:
            return _compare_apr(model, ground_truth, scratch / "model.safetensors", converter)
        if len(model.weights) > 1:
            return _nothing("a split GGUF file is not compared")
        if ground_truth is not None and ground_truth.format is ModelFormat.SAFETENSORS:
            return _compare(model.weights[0], ground_truth, is_source=True)
        back = scratch / "back"
        convert_gguf_to_safetensors(model.weights[0], back, "f32")
        converted = ModelFiles(
            format=ModelFormat.SAFETENSORS,
            weights=(back / "model.safetensors",),
            directory=back,
            source="converted",
        )
        return _compare(model.weights[0], converted)


def _compare_apr(
    model: ModelFiles, truth: ModelFiles | None, target: Path, converter: FindConverter
) -> WeightComparison:
    if truth is None or truth.format is not ModelFormat.SAFETENSORS:
        return _nothing("there are no SafeTensors that the APR file could be compared with")
    apr, _ = converter()
    try:
        apr.convert(model.weights[0], target)
    except ModelLoadError as error:
        # That its converter does not take a file is no verdict on what the engine runs.
        return _nothing(f"the APR file was not converted: {error}")
    tied = read_json_object(truth.directory / "config.json").get("tie_word_embeddings") is True
    with (
        closing(open_safetensors([target])) as ours,
        closing(open_safetensors(truth.weights)) as theirs,
    ):
        return _worst(theirs, ours.tensors.keys(), ours.load, model.weights[0].name, tied=tied)


def _compare(gguf: Path, safetensors: ModelFiles, *, is_source: bool = False) -> WeightComparison:
    source = safetensors.directory / "config.json"
    config = LlamaConfig.from_config_json(read_json_object(source), source)
    with (
        closing(open_gguf(gguf)) as ours,
        closing(open_safetensors(safetensors.weights)) as theirs,
    ):
        stored = {
            name: other
            for name in theirs.tensors
            if (other := gguf_name(name)) is not None and other in ours.tensors
        }

        def load(name: str) -> npt.NDArray[np.float32]:
            return as_hf_tensor(stored[name], ours.load(stored[name]), config)

        types = {name: ours.tensors[other].dtype for name, other in stored.items()}
        return _worst(
            theirs,
            stored.keys(),
            load,
            gguf.name,
            tied=config.tied_embeddings,
            types=types if is_source else {},
        )


def _worst(
    theirs: WeightFile,
    ours: AbstractSet[str],
    load: Callable[[str], npt.NDArray[np.float32]],
    place: str,
    *,
    tied: bool,
    types: Mapping[str, str] = MappingProxyType({}),
) -> WeightComparison:
    """Return how far the worst tensor is from theirs; ``load`` gives those whose names are ours.

    Those of which ``types`` has the storage type are held against a quantization of theirs as well.
    """
    worst, name_of_worst, compared, exact = -1.0, "", 0, True
    excess: list[TensorExcess] = []
    for name in theirs.tensors:
        if name not in ours:
            if name == "lm_head.weight" and tied:
                continue
            return WeightComparison(
                tensors=compared + 1,
                worst_tensor=name,
                worst_error=float("inf"),
                exact=False,
                reason=f"{name} is missing in {place}",
            )
        left, right = load(name), theirs.load(name)
        error = relative_error(left, right)
        ratio = excess_error(left, right, types[name]) if name in types else None
        if ratio is not None:
            excess.append(TensorExcess(tensor=name, ratio=ratio))
        exact = exact and error == 0.0
        compared += 1
        if error > worst:
            worst, name_of_worst = error, name
    if not compared:
        return _nothing("the model has no tensors")
    return WeightComparison(
        tensors=compared,
        worst_tensor=name_of_worst,
        worst_error=worst,
        exact=exact,
        excess=excess_of(excess),
    )


def _nothing(reason: str) -> WeightComparison:
    return WeightComparison(tensors=0, worst_tensor="", worst_error=0.0, exact=False, reason=reason)


@contextmanager
def _format_errors() -> Iterator[None]:
    try:
        yield
    except UnsupportedFormatError as error:
        raise EngineAbsentError(str(error)) from error
    except (FormatError, FileNotFoundError) as error:
        raise ModelLoadError(str(error)) from error
