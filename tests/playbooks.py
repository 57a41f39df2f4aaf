"""Playbooks made in memory, for tests that need some and read none from disk."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from aprqa_ci.planning.baseline import Baseline
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.plan import Plan
from aprqa_ci.playbook.load import LoadedPlaybook, parse_playbook
from aprqa_ci.vocabulary import Backend, Modality, ModelFormat

__all__ = ["TIERS", "load", "made_playbooks", "planned", "playbook_data"]

TIERS = ("quick", "smoke", "mvp", "full")
ROOT = Path("/somewhere")


def playbook_data(name: str = "tiny", **changes: Any) -> dict[str, Any]:
    """The data of a small playbook.

    Args:
        name: of the playbook.
        changes: ``model`` and ``test_matrix`` are merged, any other section is put in.
    """
    data: dict[str, Any] = {
        "name": name,
        "version": "1.0.0",
        "model": {"hf_repo": "org/tiny", "formats": ["safetensors"], "size_category": "tiny"},
        "test_matrix": {"modalities": ["run"], "backends": ["cpu"], "scenario_count": 1},
    }
    for section in ("model", "test_matrix"):
        data[section] |= changes.pop(section, {})
    return data | changes


def load(data: dict[str, Any], folder: Path = ROOT) -> LoadedPlaybook:
    """The playbook with that data, as if it had been read from ``folder``."""
    name = data["name"]
    return parse_playbook(json.dumps(data).encode(), path=folder / f"{name}.playbook.yaml")


def planned(
    *playbooks: dict[str, Any],
    tier: str | None = None,
    only: Sequence[str] = (),
    backends: Sequence[Backend] = (),
    engine: str | None = None,
    shards: int = 1,
    baselines: dict[str, Baseline] | None = None,
) -> Plan:
    """The plan of playbooks with that data."""
    return expand(
        [load(data) for data in playbooks],
        options=PlanOptions(
            tier=tier, only=tuple(only), backends=tuple(backends), engine=engine, shards=shards
        ),
        tool_version="0.0.0",
        root=ROOT,
        baselines=baselines,
    )


def _some(*of: Any, least: int = 1) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(of), min_size=least, max_size=len(of), unique=True)


@st.composite
def made_playbooks(draw: st.DrawFn, *, name: str = "made") -> dict[str, Any]:
    """The data of a playbook with any matrix, with or without prompts of its own."""
    matrix: dict[str, Any] = {
        "modalities": draw(_some(*map(str, Modality))),
        "backends": draw(st.sampled_from([["cpu"], ["cpu", "gpu"], ["gpu", "cpu"]])),
        "scenario_count": draw(st.integers(1, 12)),
        "seed": draw(st.integers(0, 3)),
    }
    prompts = draw(st.none() | st.integers(1, 20))
    if prompts is not None:
        matrix["prompts"] = [f"What is {number}+{number}?" for number in range(prompts)]
    return playbook_data(
        name,
        model={
            "formats": draw(_some(*map(str, ModelFormat))),
            "quantizations": draw(_some("q8_0", "q4_k_m", "f16", "q4_0")),
        },
        test_matrix=matrix,
    )
