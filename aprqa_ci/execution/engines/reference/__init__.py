"""The reference engine: Llama-family inference in numpy, independent of every other engine."""

from aprqa_ci.execution.engines.reference.engine import ReferenceEngine
from aprqa_ci.execution.engines.reference.session import ReferenceSession

__all__ = ["ReferenceEngine", "ReferenceSession"]
