import copy
from typing import Any

import pytest

from aprqa_ci.playbook.legacy import make_regular
from aprqa_ci.playbook.warning import WarningKind
from aprqa_ci.playbook.yaml_source import YamlPath, show_path


def regular(
    data: dict[str, Any], *, template: bool = False, substituted: tuple[YamlPath, ...] = ()
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    notes: list[tuple[str, str]] = []

    def note(kind: WarningKind, path: YamlPath, what: str, hint: str) -> None:
        assert what
        assert hint
        notes.append((kind.value, show_path(path)))

    before = copy.deepcopy(data)
    result = make_regular(data, note, template=template, substituted=substituted)
    assert data == before, "the input was changed"
    return result, notes


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("ON", True), ("false", False), ("no", False), ("Off", False)],
)
def test_quoted_booleans(text: str, value: bool) -> None:
    data, notes = regular({"gates": {"g1_model_loads": text}, "profile_ci": {"enabled": text}})
    assert data == {"gates": {"g1_model_loads": value}, "profile_ci": {"enabled": value}}
    assert notes == [
        ("quoted-boolean", "gates.g1_model_loads"),
        ("quoted-boolean", "profile_ci.enabled"),
    ]


def test_quoted_numbers() -> None:
    data, notes = regular(
        {
            "model": {"expected_vocab_size": "151936"},
            "test_matrix": {"seed": "42"},
            "oracles": [{"type": "garbage", "config": {"max_repetition_ratio": "0.3"}}],
            "differential_tests": {"inference_compare": {"tolerance": "1e-5"}},
        }
    )
    assert data["model"]["expected_vocab_size"] == 151936
    assert data["test_matrix"]["seed"] == 42
    assert data["oracles"][0]["config"]["max_repetition_ratio"] == 0.3
    assert data["differential_tests"]["inference_compare"]["tolerance"] == 1e-5
    assert [kind for kind, _ in notes] == ["quoted-number"] * 4
    assert ("quoted-number", "oracles[0].config.max_repetition_ratio") in notes


@pytest.mark.parametrize(
    "data",
    [
        {"metadata": {"primary_qa_model": "true", "n": "3", "l": ["yes"]}},
        {"model": {"size_variant": "7", "family": "on"}, "description": "true"},
        {"gates": {"g1_model_loads": "maybe"}, "test_matrix": {"seed": "4 2"}},
        {"test_matrix": {"seed": "1e999", "prompts": ["yes", "4"]}},
        {"gates": "true", "oracles": {"a": "true"}, "test_matrix": ["true"], "x": "true"},
        {"gates": {"unknown": "true"}},
        {"state_machine": {"states": ["true"]}, "verification_tests": [{"tolerance": "0.5"}]},
        {"oracles": [{"type": "nonsense", "config": {"tolerance": "1"}}, "1", {"config": "true"}]},
        {"failure_policy": "stop_on_p0", "property_tests": {"cases": 3}},
        {"failure_policy": "stop-on-second", "name": 3, "model": "auto"},
    ],
)
def test_what_is_not_certain_is_left_alone(data: dict[str, Any]) -> None:
    assert regular(data, template=True) == (data, [])


def test_property_tests_as_a_list() -> None:
    tests = [{"name": "n", "generator": "g", "oracle": "o", "count": "3"}]
    data, notes = regular({"property_tests": tests})
    assert data == {"property_tests": {"tests": [{**tests[0], "count": 3}]}}
    assert notes == [
        ("property-test-list", "property_tests"),
        ("quoted-number", "property_tests.tests[0].count"),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("stop-on-first", "stop_on_first"),
        ("stop-on-p0", "stop_on_p0"),
        ("collect-all", "collect_all"),
        ("fail-fast", "fail_fast"),
    ],
)
def test_policies_with_hyphens(old: str, new: str) -> None:
    data, notes = regular({"failure_policy": old})
    assert data == {"failure_policy": new}
    assert notes == [("hyphenated-policy", "failure_policy")]


@pytest.mark.parametrize(
    ("name", "noted"),
    [("a-1", False), ("qwen2.5-mvp", False), ("a_b", True), ("a" * 64, False), ("a" * 65, True)],
)
def test_names_outside_the_published_schema(name: str, noted: bool) -> None:
    assert regular({"name": name}) == ({"name": name}, [("unusual-name", "name")] * noted)


def test_the_size_auto_is_for_templates() -> None:
    data = {"model": {"size_category": "auto", "family": "x"}}
    assert regular(data) == (data, [])
    expected = {"model": {"family": "x"}}
    assert regular(data, template=True) == (
        expected,
        [("auto-size", "model.size_category")],
    )


def test_substituted_text_is_no_legacy_spelling() -> None:
    data, notes = regular({"test_matrix": {"seed": "42"}}, substituted=(("test_matrix", "seed"),))
    assert data == {"test_matrix": {"seed": 42}}
    assert notes == []


def test_states_of_either_shape() -> None:
    data, notes = regular(
        {"state_machine": {"enabled": "true", "states": {"idle": {"transitions": []}}}}
    )
    assert data["state_machine"]["enabled"] is True
    assert notes == [("quoted-boolean", "state_machine.enabled")]
