"""Gateway G0: are the files what they claim to be?"""

from aprqa_ci.execution.integrity.finding import FindingState, GateFinding
from aprqa_ci.execution.integrity.inspection import Inspection, inspect_model

__all__ = ["FindingState", "GateFinding", "Inspection", "inspect_model"]
