"""The conformance suite: what every engine is held to."""

from aprqa_ci.execution.engines.conformance.report import (
    CheckResult,
    CheckState,
    ConformanceReport,
)
from aprqa_ci.execution.engines.conformance.suite import check_engine

__all__ = ["CheckResult", "CheckState", "ConformanceReport", "check_engine"]
