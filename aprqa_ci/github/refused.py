"""GitHub's no, as an error; apart from what needs PyGithub, which is an extra."""

from aprqa_ci.errors import DeliveryError

__all__ = ["RefusedError"]


class RefusedError(DeliveryError):
    """GitHub understood the request and said no; asking again would not help.

    Callers who expect the refusal look at ``status``; everyone else lets the message reach the
    user.
    """

    def __init__(self, message: str, *, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said
        """GitHub's words, the details included."""
