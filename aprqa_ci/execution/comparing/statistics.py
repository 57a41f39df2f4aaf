"""Statistics of tensors, and files of them to compare with."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from aprqa_ci.errors import InputError
from aprqa_ci.wire import WireModel, read_wire

__all__ = [
    "ReferenceAbsentError",
    "TensorStatistics",
    "TensorStatisticsFile",
    "checksum_of",
    "read_reference",
    "statistics_of",
]


class ReferenceAbsentError(Exception):
    """The file of statistics to compare with is not there or cannot be used."""


class TensorStatistics(WireModel, frozen=True, kw_only=True):
    """What is kept of one tensor's values, computed in float64."""

    elements: int
    mean: float
    std: float
    """The standard deviation of all values (not of a sample)."""
    minimum: float
    maximum: float

    @property
    def finite(self) -> bool:
        """Whether the tensor holds no NaN and no infinity: either would show in one of these."""
        return bool(np.isfinite([self.mean, self.std, self.minimum, self.maximum]).all())

    @property
    def scale(self) -> float:
        """What a difference is measured by: the larger of deviation and mean, without sign."""
        return max(self.std, abs(self.mean))


class TensorStatisticsFile(WireModel, frozen=True, kw_only=True):
    """Statistics of all tensors of a model, by Hugging Face name."""

    schema: Literal["aprqa-tensor-statistics/1"] = "aprqa-tensor-statistics/1"
    source: dict[str, str]
    """SHA-256 of each weight file that they are of, by name."""
    tensors: dict[str, TensorStatistics]


def statistics_of(values: npt.NDArray[np.float32]) -> TensorStatistics:
    """Return the statistics of a tensor; NaN and infinities stay visible in them."""
    if not values.size:
        return TensorStatistics(elements=0, mean=0.0, std=0.0, minimum=0.0, maximum=0.0)
    with np.errstate(all="ignore"):
        return TensorStatistics(
            elements=values.size,
            mean=float(values.mean(dtype=np.float64)),
            std=float(values.std(dtype=np.float64)),
            minimum=float(values.min()),
            maximum=float(values.max()),
        )


def checksum_of(values: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of the values as little-endian float32; both zeros are one number."""
    plain = np.ascontiguousarray(values, dtype="<f4") + np.float32(0)
    return hashlib.sha256(plain.data).hexdigest()


def read_reference(path: Path) -> TensorStatisticsFile:
    """Read a file of statistics.

    Raises:
        ReferenceAbsentError: it is not there, cannot be read, or holds no tensor.
    """
    try:
        found = read_wire(path, TensorStatisticsFile)
    except InputError as error:
        raise ReferenceAbsentError(str(error)) from error
    if not found.tensors:
        what = f"{path}: the reference holds no tensor"
        raise ReferenceAbsentError(what)
    return found
