"""A session that cannot give what a scenario needs, and whose fault that is."""

from aprqa_ci.execution.child import ChildDiedError, ChildTimeoutError
from aprqa_ci.execution.protocol import (
    Absent,
    Broken,
    EngineFailed,
    LoadFailed,
    NotOffered,
    OutOfMemory,
    Refused,
    Reply,
)
from aprqa_ci.execution.result import Cause

__all__ = ["LostSessionError", "lost_by", "lost_while_loading"]


class LostSessionError(Exception):
    """A scenario cannot be run for want of a session, or of what this one has to offer."""

    def __init__(
        self, cause: Cause, reason: str, *, stderr: str | None = None, exit_code: int | None = None
    ) -> None:
        super().__init__(reason)
        self.cause = cause
        self.reason = reason
        self.stderr = stderr
        self.exit_code = exit_code


def lost_while_loading(error: ChildTimeoutError | ChildDiedError) -> LostSessionError:
    """Say what it means that the child hung or died while it loaded the model."""
    if isinstance(error, ChildTimeoutError):
        cause = Cause(kind="model", word="load-timeout")
        return LostSessionError(cause, f"loading: {error}", stderr=error.stderr)
    return LostSessionError(
        Cause(kind="infrastructure", word="no-memory")
        if error.out_of_memory
        else Cause(kind="model", word="load-crash"),
        f"loading: {error}",
        stderr=error.stderr,
        exit_code=error.returncode,
    )


def lost_by(reply: Reply) -> LostSessionError:
    """Say what a reply other than the wanted one means, and whose fault it is."""
    match reply:
        case LoadFailed(message=message):
            return LostSessionError(Cause(kind="model", word="not-loaded"), message)
        case Absent(message=message):
            return LostSessionError(Cause(kind="infrastructure", word="engine-missing"), message)
        case NotOffered(message=message):
            return LostSessionError(Cause(kind="infrastructure", word="not-offered"), message)
        case OutOfMemory(message=message):
            return LostSessionError(Cause(kind="infrastructure", word="no-memory"), message)
        case Broken(message=message):
            return LostSessionError(Cause(kind="infrastructure", word="harness-error"), message)
        case Refused(message=message) | EngineFailed(message=message):
            return LostSessionError(Cause(kind="model", word="not-loaded"), message)
        case _:
            text = f"unexpected reply {type(reply).__name__}"
            return LostSessionError(Cause(kind="infrastructure", word="harness-error"), text)
