"""The performance limits of a playbook: its own assertions, else defaults by size and backend."""

from typing import Literal

import msgspec

from aprqa_ci.data_files import load_data
from aprqa_ci.planning.plan import PerformanceLimits
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import Backend, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = ["answer_tokens", "limits_for", "measured_text"]


class _PerformanceFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-performance/1"]
    answer_tokens: int
    prompt: str
    limits: dict[SizeCategory, dict[Backend, PerformanceLimits]]


def _file() -> _PerformanceFile:
    return load_data("performance.yaml", _PerformanceFile)


def answer_tokens() -> int:
    """Return the most tokens of an answer that is measured."""
    return _file().answer_tokens


def measured_text() -> str:
    """Return the question whose answer is measured."""
    return _file().prompt


def limits_for(playbook: Playbook) -> dict[Backend, PerformanceLimits]:
    """Return the limits per declared backend.

    ``profile_ci.assertions`` wins over the defaults on the backends that ``profile_ci`` names, and
    ``min_throughput_cpu`` over ``min_throughput``. A section that is switched off only gives its
    limits up: speed is measured all the same.
    """
    defaults = _file().limits[playbook.model.size_category]
    profile = playbook.profile_ci
    limits = {backend: defaults[backend] for backend in playbook.test_matrix.backends}
    if profile is None or not profile.enabled:
        return limits
    asserted = profile.assertions
    by_backend = {
        Backend.CPU: asserted.min_throughput_cpu,
        Backend.GPU: asserted.min_throughput_gpu,
    }
    for backend in set(profile.backends).intersection(limits):
        throughput = by_backend[backend]
        if throughput is None:
            throughput = asserted.min_throughput
        chosen = {
            "min_throughput": throughput,
            "max_ttft_ms": asserted.max_ttft_ms,
            "max_p50_ms": asserted.max_p50_ms,
            "max_p99_ms": asserted.max_p99_ms,
        }
        limits[backend] = msgspec.structs.replace(
            defaults[backend],
            **{name: float(value) for name, value in chosen.items() if value is not None},
        )
    return limits
