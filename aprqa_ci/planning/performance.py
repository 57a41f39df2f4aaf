"""The performance limits of a playbook: its own assertions, else defaults by size and backend."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from aprqa_ci.data_files import load_data
from aprqa_ci.planning.plan import PerformanceLimits, PlannedCell
from aprqa_ci.playbook.model import Playbook
from aprqa_ci.vocabulary import Backend, ModelFormat, SizeCategory
from aprqa_ci.wire import WireModel

__all__ = [
    "answer_tokens",
    "asks_for_profile",
    "default_limits",
    "limits_for",
    "measured_text",
    "profile_gates_not_run",
    "profiled_formats",
]


class _PerformanceFile(WireModel, frozen=True, kw_only=True):
    schema: Literal["aprqa-performance/1"]
    answer_tokens: int
    prompt: str
    limits: dict[SizeCategory, dict[Backend, PerformanceLimits]]
    gates: dict[str, str]
    """Ids of the existing tool, and the gate that measures what each asks for."""


def _file() -> _PerformanceFile:
    return load_data("performance.yaml", _PerformanceFile)


def answer_tokens() -> int:
    """Return the most tokens of an answer that is measured."""
    return _file().answer_tokens


def measured_text() -> str:
    """Return the question whose answer is measured."""
    return _file().prompt


def default_limits(playbook: Playbook) -> dict[Backend, PerformanceLimits]:
    """Return the limits of the size category per declared backend."""
    defaults = _file().limits[playbook.model.size_category]
    return {backend: defaults[backend] for backend in playbook.test_matrix.backends}


def profiled_formats(playbook: Playbook) -> tuple[ModelFormat, ...]:
    """Return the formats that a playbook's limits hold for, where it does not mean all of its."""
    profile = playbook.profile_ci
    if profile is None or not profile.enabled or profile.formats is None:
        return ()
    named = set(profile.formats)
    return () if named >= set(playbook.model.formats) else tuple(profile.formats)


def asks_for_profile(playbook: Playbook, cells: Sequence[PlannedCell]) -> bool:
    """Whether a playbook asks for a profile and has cells whose engine may have one of its own."""
    profile = playbook.profile_ci
    if profile is None or not profile.enabled:
        return False
    return any(cell.format is ModelFormat.APR or cell.engine == "apr" for cell in cells)


def profile_gates_not_run(
    playbook: Playbook, cells: Sequence[PlannedCell]
) -> Iterator[tuple[str, str]]:
    """Return the ids of ``profile_ci.gates`` that no cell measures, each with the reason."""
    profile = playbook.profile_ci
    if profile is None or not profile.enabled:
        return
    planned = {scenario.gate_id for cell in cells for scenario in cell.scenarios}
    known = _file().gates
    for name in profile.gates or ():
        gate = known.get(name, name)
        if gate not in planned:
            reason = f"no cell of this plan measures {gate}"
            yield f"profile_ci.gates.{name}", reason if name in known else "no test is called so"


def limits_for(playbook: Playbook) -> dict[Backend, PerformanceLimits]:
    """Return the limits per declared backend, for the formats that the playbook profiles.

    ``profile_ci.assertions`` wins over the defaults on the backends that ``profile_ci`` names, and
    ``min_throughput_cpu`` over ``min_throughput``. A section that is switched off only gives its
    limits up: speed is measured all the same.
    """
    profile = playbook.profile_ci
    defaults = default_limits(playbook)
    limits = dict(defaults)
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
