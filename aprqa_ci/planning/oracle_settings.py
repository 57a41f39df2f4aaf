"""The playbook's settings of oracles, as the plan carries them."""

from typing import Any

import msgspec

from aprqa_ci.playbook.model import Playbook

__all__ = ["oracle_settings"]


def oracle_settings(playbook: Playbook) -> dict[str, dict[str, Any]]:
    """Return each declared oracle's settings by its kind."""
    entries = [msgspec.to_builtins(oracle) for oracle in playbook.oracles]
    return {entry["type"]: entry["config"] for entry in entries}
