"""What people may tune about publishing, read from ``data/publishing.yaml``."""

from typing import Literal

from aprqa_ci.data_files import load_data
from aprqa_ci.github.auto_merge import AutoMerge
from aprqa_ci.wire import WireModel

__all__ = ["Publishing", "load_publishing"]


class Publishing(WireModel, frozen=True, kw_only=True):
    """What ``data/publishing.yaml`` holds; the file says what each entry means."""

    schema: Literal["aprqa-publishing/1"] = "aprqa-publishing/1"
    least_noise: float
    inline_evidence_bytes: int
    attempts: int
    reviewers: tuple[str, ...] = ()
    auto_merge: AutoMerge = AutoMerge.OFF
    close_superseded: bool = False


def load_publishing() -> Publishing:
    """Return the settings of this installation.

    Raises:
        AprqaError: the installation is damaged.
    """
    return load_data("publishing.yaml", Publishing)
