"""Commands that run models do so without the hub and without its token."""

import os

from aprqa_ci.execution.fetching.offline import offline_environment
from aprqa_ci.redaction import Redaction, redaction_of

__all__ = ["go_offline"]


def go_offline() -> Redaction:
    """Take the hub's tokens out of this process's environment, so that no child inherits one.

    Returns:
        What takes the secrets that the environment held out of texts.
    """
    redaction = redaction_of(os.environ)
    kept = offline_environment(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update(kept)
    return redaction
