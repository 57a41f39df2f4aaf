"""What a process sees that may no longer talk to the hub."""

from collections.abc import Mapping

__all__ = ["offline_environment"]

_TOKENS = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_TOKEN_PATH"}


def offline_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the hub's tokens, and with its libraries told to stay offline.

    Pure.
    """
    kept = {name: text for name, text in environment.items() if name not in _TOKENS}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
    }
