from aprqa_ci.planning.oracle_settings import oracle_settings
from tests.playbooks import load, playbook_data


def test_settings_are_those_that_are_given() -> None:
    oracles = [
        {"type": "arithmetic", "config": {"tolerance": 0.25}},
        {"type": "garbage"},
        {"type": "code_syntax", "config": {"languages": ["python"]}},
    ]
    assert oracle_settings(load(playbook_data(oracles=oracles)).playbook) == {
        "arithmetic": {"tolerance": 0.25},
        "garbage": {},
        "code_syntax": {"languages": ["python"]},
    }
    assert oracle_settings(load(playbook_data()).playbook) == {}
