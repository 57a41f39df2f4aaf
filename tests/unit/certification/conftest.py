from pathlib import Path

import pytest

from aprqa_ci.certification.bundle import Bundle, write_bundle
from aprqa_ci.planning.plan import Plan
from tests.playbooks import planned, playbook_data
from tests.records import made_records

DIGESTS = {"safetensors": {"model.safetensors": "a" * 64}}


@pytest.fixture(scope="session")
def plan() -> Plan:
    """The plan of a playbook that can be CERTIFIED, with three cells."""
    data = playbook_data(
        model={"formats": ["safetensors", "gguf"], "quantizations": ["q8_0", "q4_0"]}
    )
    return planned(data, tier="mvp").for_playbook("tiny")


@pytest.fixture
def certified(tmp_path: Path, plan: Plan) -> Bundle:
    """A bundle whose every scenario was corroborated."""
    return write_bundle(
        tmp_path / "certifications" / "tiny", plan, made_records(plan), model_digests=DIGESTS
    )
