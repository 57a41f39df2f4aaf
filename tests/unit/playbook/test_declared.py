from typing import Any

import msgspec
import pytest

from aprqa_ci.playbook.declared import DECLARED_NOT_RUN, declared_not_run
from aprqa_ci.playbook.model import Playbook


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({}, ()),
        ({"trace_payload": {"enabled": True}}, ("trace_payload",)),
        ({"trace_payload": {}}, ("trace_payload",)),
        ({"trace_payload": {"enabled": False}}, ()),
        ({"trace_payload": None, "state_machine": []}, ()),
        ({"contract_tests": {"invariants": ["I-2"]}}, ()),
        ({"property_tests": {"tests": [{"name": "x"}]}, "mvp_matrix": [{}]}, ()),
        ({"differential_tests": {"tensor_diff": {}}}, ()),
        ({"profile_ci": {"warmup": 1}}, ()),
        ({"profile_ci": {"gates": ["x"], "formats": ["apr"]}, "ollama_parity": {}}, ()),
        ({"gates": {"g2_basic_inference": False}, "falsification_gates": [{"id": "x"}]}, ()),
        ({"kernel_profile": {"family": "x"}, "metadata": {"a": 1}, "oracles": [{}]}, ()),
    ],
)
def test_what_is_asked_for_and_not_executed(data: dict[str, Any], paths: tuple[str, ...]) -> None:
    assert declared_not_run(data) == paths


def test_the_list_names_fields_that_exist() -> None:
    assert list(DECLARED_NOT_RUN) == sorted(DECLARED_NOT_RUN)
    schema = msgspec.json.schema(Playbook)
    for path in DECLARED_NOT_RUN:
        definition = schema["$defs"]["Playbook"]
        for key in path.split("."):
            part = definition["properties"][key]
            for branch in (part, *part.get("anyOf", ())):
                if "$ref" in branch:
                    definition = schema["$defs"][branch["$ref"].rpartition("/")[2]]


def test_every_section_is_executed_listed_or_for_readers() -> None:
    executed = {
        "name",
        "version",
        "model",
        "test_matrix",
        "oracles",
        "failure_policy",
        "profile_ci",
        "gates",
        "falsification_gates",
        "mvp_matrix",
        "ollama_parity",
        "property_tests",
        "verification_tests",
        "contract_tests",
        "differential_tests",
    }
    for_readers = {"description", "kernel_profile", "metadata"}
    listed = {path.partition(".")[0] for path in DECLARED_NOT_RUN}
    assert set(Playbook.__struct_fields__) == executed | for_readers | listed
    assert not listed & (for_readers | executed - {"profile_ci"})
