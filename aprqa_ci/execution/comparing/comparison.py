"""Two models read tensor by tensor: every statistic and difference that the tests speak of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from aprqa_ci.execution.comparing.findings import NothingComparedError
from aprqa_ci.execution.comparing.named_tensors import NamedTensors, selected
from aprqa_ci.execution.comparing.statistics import TensorStatistics, statistics_of
from aprqa_ci.execution.integrity.finding import NotJudgedError
from aprqa_ci.execution.weight_comparison import relative_error

__all__ = ["Comparison", "Difference"]

_TRANSPOSED = 0.5
"""Transposed values must fit so much better, as a factor, to be called transposed: two unrelated
matrices are off by about the same either way."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one tensor is from the ground truth's."""

    name: str
    error: float
    """The relative root-mean-square error; infinite for another shape."""
    largest: float
    """The largest difference of two values."""
    where: tuple[int, ...]
    """The place of that value in the tensor."""
    transposed: bool
    """Whether the tensor's transpose fits, and the tensor does not."""


class Comparison:
    """A model, and the ground truth that it must agree with; each tensor is read when asked for.

    Args:
        model: the model.
        truth: opens what it must agree with, if there is anything.
    """

    def __init__(self, model: NamedTensors, truth: Callable[[], NamedTensors] | None) -> None:
        self.model = model
        self._open_truth = truth
        self._differences: dict[str, Difference] = {}

    @cached_property
    def truth(self) -> NamedTensors:
        """What the model must agree with.

        Raises:
            NotJudgedError: there is nothing to compare with, or only the model itself.
        """
        if self._open_truth is None:
            what = "there is no ground truth to compare with"
            raise NotJudgedError(what)
        truth = self._open_truth()
        ours = {path.resolve() for path in self.model.files.weights}
        if ours & {path.resolve() for path in truth.files.weights}:
            what = "a file would be compared with itself"
            raise NotJudgedError(what)
        return truth

    @cached_property
    def statistics(self) -> Mapping[str, TensorStatistics]:
        """The statistics of each of the model's tensors."""
        return _statistics(self.model)

    @cached_property
    def truth_statistics(self) -> Mapping[str, TensorStatistics]:
        """The statistics of each of the ground truth's tensors."""
        return _statistics(self.truth)

    def chosen(self, parts: Sequence[str], *, among: NamedTensors | None = None) -> tuple[str, ...]:
        """Return the names of the selected tensors, those of the model unless told otherwise.

        Raises:
            NothingComparedError: no tensor's name holds any of the parts.
        """
        found = selected(tuple((among or self.model).tensors), parts)
        if not found:
            what = f"no tensor's name holds {' or '.join(parts)}"
            raise NothingComparedError(what)
        return found

    def missing(self, parts: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the selected tensors of the ground truth that the model has not."""
        return tuple(
            name for name in self.chosen(parts, among=self.truth) if name not in self.model.tensors
        )

    def added(self) -> tuple[str, ...]:
        """Return the tensors of the model that the ground truth has not."""
        return tuple(name for name in self.model.tensors if name not in self.truth.tensors)

    def difference(self, name: str) -> Difference:
        """Return how far a tensor that both have is from the ground truth's."""
        if name not in self._differences:
            ours, theirs = self.model.load(name), self.truth.load(name)
            self._differences[name] = _difference(name, ours, theirs)
        return self._differences[name]

    def differences(self, parts: Sequence[str]) -> tuple[Difference, ...]:
        """Return the differences of all selected tensors that both have.

        Raises:
            NothingComparedError: there is none.
        """
        both = [name for name in self.chosen(parts, among=self.truth) if name in self.model.tensors]
        if not both:
            what = "no selected tensor is in both files"
            raise NothingComparedError(what)
        return tuple(self.difference(name) for name in both)


def _statistics(tensors: NamedTensors) -> dict[str, TensorStatistics]:
    return {name: statistics_of(tensors.load(name)) for name in tensors.tensors}


def _difference(
    name: str, ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]
) -> Difference:
    error = relative_error(ours, theirs)
    largest = float("inf")
    where: tuple[int, ...] = ()
    if ours.shape == theirs.shape and ours.size:
        with np.errstate(invalid="ignore"):
            apart = np.abs(ours - theirs)
        place = np.unravel_index(int(np.argmax(apart)), apart.shape)
        largest, where = float(apart[place]), tuple(int(each) for each in place)
    transposed = False
    if error and ours.ndim == 2 and ours.T.shape == theirs.shape:
        turned = relative_error(ours.T, theirs)
        transposed = turned < error * _TRANSPOSED
    return Difference(name=name, error=error, largest=largest, where=where, transposed=transposed)
