"""The last accepted certificate of a playbook, as the next run compares itself with it."""

import msgspec

from aprqa_ci.wire import WireModel

__all__ = ["Baseline", "BaselineCell"]


class BaselineCell(WireModel, frozen=True, kw_only=True):
    """What one cell reached in the last accepted certificate."""

    corroborated: tuple[str, ...]
    """Scenario ids that were corroborated."""
    tokens_per_second: float | None = None
    """The median throughput, tokens per second."""
    questions: str | msgspec.UnsetType = msgspec.UNSET
    """The digest of the questions that were put to it (:mod:`.questions`); absent where the
    certificate does not say."""


class Baseline(WireModel, frozen=True, kw_only=True):
    """The last accepted certificate of the same playbook, to compare with."""

    certificate_digest: str
    model_digests: dict[str, str] = msgspec.field(default_factory=dict)
    machines: tuple[str, ...] = ()
    """The processors and GPUs it was measured on; throughput is compared on the same alone."""
    cells: dict[str, BaselineCell]
    engines: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """The version of each engine that answered."""
    revision: str | msgspec.UnsetType | None = msgspec.UNSET
    """The revision of the model that the playbook named then."""
