"""When a run ends early: the playbook's failure policy, over every phase."""

from threading import Event

from aprqa_ci.vocabulary import FailurePolicy, Outcome, Severity

__all__ = ["StopRule", "ends_run"]


def ends_run(policy: FailurePolicy, outcome: Outcome, severity: Severity) -> bool:
    """Say whether an outcome of that severity ends the run under that policy."""
    if not outcome.is_failure:
        return False
    match policy:
        case FailurePolicy.COLLECT_ALL:
            return False
        case FailurePolicy.STOP_ON_P0:
            return severity is Severity.P0
        case FailurePolicy.STOP_ON_FIRST | FailurePolicy.FAIL_FAST:
            return True


class StopRule:
    """Remembers, across threads, whether the run has been ended."""

    def __init__(self, policy: FailurePolicy) -> None:
        self._policy = policy
        self._ended = Event()

    def observe(self, outcome: Outcome, severity: Severity) -> None:
        """Take note of an outcome."""
        if ends_run(self._policy, outcome, severity):
            self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether the run has been ended."""
        return self._ended.is_set()
