"""The conformance suite: what every engine is held to."""

from aprqa_ci.execution.engines.conformance.report import (
    CheckResult,
    CheckState,
    ConformanceReport,
)
from aprqa_ci.execution.engines.conformance.suite import check_engine
from aprqa_ci.execution.engines.conformance.trial import bundled_model

__all__ = ["CheckResult", "CheckState", "ConformanceReport", "bundled_model", "check_engine"]
