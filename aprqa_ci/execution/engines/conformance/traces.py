"""Finding the processes that an engine has left behind.

A process is known as a child's by descent while the child lives, and afterwards by a mark in its
environment: whatever an engine starts inherits that, unless it is at pains not to.
"""

import time

from aprqa_ci.execution.processes import command_of, has_variable, is_alive, process_ids

__all__ = ["MARK_VARIABLE", "left_of"]

MARK_VARIABLE = "APRQA_CONFORMANCE_MARK"
"""The environment variable that marks a child and all that it starts."""

_GONE_WITHIN_S = 3.0
_POLL_S = 0.02


def left_of(mark: str, known: frozenset[int] = frozenset()) -> dict[int, str]:
    """Return the processes with that mark, or of those known, that do not end by themselves.

    Returns:
        The command of each by its process id; empty when all ended within a few seconds.
    """
    deadline = time.monotonic() + _GONE_WITHIN_S
    while left := {
        pid: command_of(pid)
        for pid in process_ids()
        if (pid in known or has_variable(pid, MARK_VARIABLE, mark)) and is_alive(pid)
    }:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return left
