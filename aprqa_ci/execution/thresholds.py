"""The limits that conclusions and checks compare with, read from ``data/thresholds.yaml``."""

from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.wire import WireModel

__all__ = ["Thresholds", "load_thresholds"]


class Thresholds(WireModel, frozen=True, kw_only=True):
    """What ``data/thresholds.yaml`` holds; the file says what each limit means."""

    schema: Literal["aprqa-thresholds/1"] = "aprqa-thresholds/1"
    garbage_share: float
    """The largest share of empty or garbage answers, 0 to 1."""
    baseline_throughput_ratio: float
    """The least part of the accepted throughput, 0 to 1."""
    collapsed_throughput_ratio: float
    """The part of it below which there is no certificate."""
    lost_answers: int
    """How many more answers lost than won are too many, where nothing but the model can differ."""
    lost_answers_chance: float
    """Elsewhere: how unlikely a loss must be by chance alone."""


def load_thresholds() -> Thresholds:
    """Return the limits of this installation.

    Raises:
        AprqaError: the installation is damaged.
    """
    return load_data("thresholds.yaml", Thresholds)
