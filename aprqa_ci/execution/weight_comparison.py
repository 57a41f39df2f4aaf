"""Comparing weights, tensor by tensor, after conversion and back.

SafeTensors go forth to GGUF and back. A GGUF file is compared with the SafeTensors ground truth;
without one it goes forth to SafeTensors and back.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.engines.interface import EngineAbsentError, ModelLoadError
from aprqa_ci.execution.formats.convert import (
    convert_gguf_to_safetensors,
    convert_safetensors_to_gguf,
)
from aprqa_ci.execution.formats.gguf import open_gguf
from aprqa_ci.execution.formats.json_files import read_json_object
from aprqa_ci.execution.formats.llama import LlamaConfig, as_hf_tensor, gguf_name
from aprqa_ci.execution.formats.safetensors import open_safetensors
from aprqa_ci.execution.formats.weights import FormatError, UnsupportedFormatError
from aprqa_ci.execution.model_files import ModelFiles
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
    model: ModelFiles, ground_truth: ModelFiles | None, *, scratch: Path
) -> WeightComparison:
    """Compare a model's weights with those that they must be.

    Args:
        model: SafeTensors or GGUF.
        ground_truth: the SafeTensors that a GGUF file must agree with, if there are any.
        scratch: an empty directory for converted files.

    Raises:
        ModelLoadError: a file is damaged.
        EngineAbsentError: the architecture or a type is not known to the converters.
    """
    with _format_errors():
        if model.format is ModelFormat.SAFETENSORS:
            target = scratch / "forth.gguf"
            convert_safetensors_to_gguf(model.directory, target, "f32", weights=model.weights)
            return _compare(target, model)
        if model.format is not ModelFormat.GGUF:
            return _nothing(f"no converter for {model.format} is here")
        if len(model.weights) > 1:
            return _nothing("a split GGUF file is not compared")
        if ground_truth is not None and ground_truth.format is ModelFormat.SAFETENSORS:
            return _compare(model.weights[0], ground_truth)
        back = scratch / "back"
        convert_gguf_to_safetensors(model.weights[0], back, "f32")
        converted = ModelFiles(
            format=ModelFormat.SAFETENSORS,
            weights=(back / "model.safetensors",),
            directory=back,
            source="converted",
        )
        return _compare(model.weights[0], converted)


def _compare(gguf: Path, safetensors: ModelFiles) -> WeightComparison:
    source = safetensors.directory / "config.json"
    config = LlamaConfig.from_config_json(read_json_object(source), source)
    worst, name_of_worst, compared, exact = -1.0, "", 0, True
    with (
        closing(open_gguf(gguf)) as ours,
        closing(open_safetensors(safetensors.weights)) as theirs,
    ):
        for name in theirs.tensors:
            other = gguf_name(name)
            if other is None or other not in ours.tensors:
                if name == "lm_head.weight" and config.tied_embeddings:
                    continue
                return WeightComparison(
                    tensors=compared + 1,
                    worst_tensor=name,
                    worst_error=float("inf"),
                    exact=False,
                    reason=f"{name} is missing in {gguf.name}",
                )
            left = as_hf_tensor(other, ours.load(other), config)
            error = relative_error(left, theirs.load(name))
            exact = exact and error == 0.0
            compared += 1
            if error > worst:
                worst, name_of_worst = error, name
    if not compared:
        return _nothing("the model has no tensors")
    return WeightComparison(
        tensors=compared, worst_tensor=name_of_worst, worst_error=worst, exact=exact
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
