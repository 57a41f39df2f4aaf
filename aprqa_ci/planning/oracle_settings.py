"""The playbook's settings of oracles, as the plan carries them."""

from typing import Any

import msgspec

from aprqa_ci.playbook.model import Playbook

__all__ = ["oracle_settings"]


def oracle_settings(playbook: Playbook) -> dict[str, dict[str, Any]]:
    """Return each declared oracle's settings by its kind, as JSON has them.

    A plan is then the same before it is written and after it is read.
    """
    entries = msgspec.json.decode(msgspec.json.encode(playbook.oracles))
    return {entry["type"]: entry["config"] for entry in entries}
