"""The measurements on a loaded model, by the gate that each speaks for.

Each check asks what it needs through :class:`OpenCell` and returns a :class:`Finding` that holds
the figures it judged, so that a stranger can judge them again.
"""

from collections.abc import Callable, Mapping

from aprqa_ci.execution.checks import (
    answers,
    comparison,
    parity,
    performance,
    serving,
    stability,
)
from aprqa_ci.execution.checks.files import FILE_GATES, file_check
from aprqa_ci.execution.checks.open_cell import Finding, OpenCell

__all__ = ["CHECKS", "Finding", "OpenCell"]

CHECKS: Mapping[str, Callable[[OpenCell], Finding]] = {
    "F-PERF-TPS-001": performance.throughput,
    "F-PERF-TTFT-001": performance.first_token,
    "F-PERF-P50-001": performance.p50,
    "F-PERF-P99-001": performance.p99,
    "F-STAB-REPEAT-001": stability.repeat,
    "F-STAB-MEMORY-001": stability.memory,
    "F-STAB-RECOVERY-001": stability.recovery,
    "F-STAB-HEALTH-001": serving.health,
    "F-STAB-CLIENTS-001": serving.clients,
    "F-STAB-MALFORMED-001": serving.malformed,
    "F-EDGE-OVERFLOW-001": stability.overflow,
    "F-COMP-AGREE-001": comparison.agreement,
    "F-REGR-ROUNDTRIP-001": comparison.round_trip,
    "F-COMP-OLLAMA-001": parity.answers,
    "F-OLLAMA-002": parity.throughput,
    "F-GOLDEN-RULE-001": answers.golden_rule,
    "F-ROSETTA-INF-001": answers.same_answer,
    "F-ROSETTA-INF-003": answers.no_padding,
    **{gate: file_check(gate) for gate in FILE_GATES},
}
"""The checks by gate id."""
