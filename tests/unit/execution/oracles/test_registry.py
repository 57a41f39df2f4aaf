from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question
from aprqa_ci.execution.oracles.registry import build_oracle, oracle_for, oracle_names
from aprqa_ci.planning.oracle_choice import PARSED_LANGUAGES, choose_oracle
from aprqa_ci.planning.plan import OracleSpec

SUM = Question(prompt="What is 2+2?")
TALK = Question(prompt="Tell me about the sea.")
MINIMAL: dict[str, dict[str, Any]] = {
    "exact": {"expect": "4"},
    "contains": {"any": "4"},
    "composite": {"oracles": [{"kind": "arithmetic"}]},
}


def full(kind: str, overrides: dict[str, dict[str, Any]] | None = None, **config: Any) -> Any:
    return oracle_for(OracleSpec(kind=kind, config=config or MINIMAL.get(kind, {})), overrides)


def test_names() -> None:
    assert oracle_names() == (
        "arithmetic",
        "code_syntax",
        "composite",
        "contains",
        "exact",
        "garbage",
        "json",
        "response",
    )


@pytest.mark.parametrize("kind", oracle_names())
def test_every_name_builds_an_oracle_of_that_name(kind: str) -> None:
    spec = OracleSpec(kind=kind, config=MINIMAL.get(kind, {}))
    assert build_oracle(spec).name == kind
    assert oracle_for(spec).name == kind
    assert build_oracle(spec).judge(SUM, "4").oracle == kind


@pytest.mark.parametrize(
    ("kind", "config", "says"),
    [
        ("arithmetc", {}, "perhaps 'arithmetic' is meant"),
        ("zzzz", {}, "known: arithmetic, "),
        ("arithmetic", {"tolerence": 1}, "perhaps 'tolerance' is meant"),
        ("arithmetic", {"tolerance": -1}, ">= 0"),
        ("arithmetic", {"tolerance": object()}, "oracle arithmetic"),
        ("garbage", {"max_repetition_ratio": 2}, "<= 1"),
        ("garbage", {"min_unique_chars": "10"}, "int"),
        ("exact", {}, "expect"),
        ("composite", {}, "oracles"),
        ("composite", {"oracles": []}, "at least one"),
        ("composite", {"oracles": [{"kind": "garbge"}]}, "perhaps 'garbage' is meant"),
    ],
)
def test_a_wrong_specification_is_an_input_error(
    kind: str, config: dict[str, Any], says: str
) -> None:
    for build in (build_oracle, oracle_for):
        with pytest.raises(InputError, match=says):
            build(OracleSpec(kind=kind, config=config))


def test_composites_may_not_be_nested_without_end() -> None:
    spec: dict[str, Any] = {"kind": "arithmetic"}
    for _ in range(8):
        spec = {"kind": "composite", "config": {"oracles": [spec]}}
    assert build_oracle(OracleSpec(**spec)).judge(SUM, "4").verdict is OracleVerdict.CORROBORATED
    with pytest.raises(InputError, match="nested"):
        build_oracle(OracleSpec(kind="composite", config={"oracles": [spec]}))


def test_garbage_and_response_only_falsify() -> None:
    judged: Judgement = full("arithmetic").judge(TALK, "The sea is wide and blue.")
    assert judged.verdict is OracleVerdict.NOT_APPLICABLE
    assert judged.reason.startswith("not checked for correctness")
    assert [part.oracle for part in judged.parts] == ["garbage", "response", "arithmetic"]
    falsified: Judgement = full("arithmetic").judge(TALK, "RRRRRRRRRR")
    assert (falsified.verdict, falsified.kind) == (OracleVerdict.FALSIFIED, "garbage")


@pytest.mark.parametrize("kind", ["garbage", "response"])
def test_unless_they_are_what_is_being_checked(kind: str) -> None:
    judged = full(kind).judge(TALK, "The sea is wide and blue.")
    assert judged.verdict is OracleVerdict.CORROBORATED
    assert {part.oracle for part in judged.parts} == {"garbage", "response"}
    assert full(kind).judge(TALK, "").kind == "empty"
    assert full(kind).judge(TALK, TALK.prompt).verdict is OracleVerdict.FALSIFIED


@given(st.text())
def test_an_answer_that_a_guard_falsifies_is_never_right(answer: str) -> None:
    judged = full("contains", any=("a", "b")).judge(TALK, answer)
    verdicts = {part.oracle: part.verdict for part in judged.parts}
    if OracleVerdict.FALSIFIED in verdicts.values():
        assert judged.verdict is OracleVerdict.FALSIFIED
    else:
        assert judged.verdict is verdicts["contains"]


def test_the_settings_of_the_playbook_take_effect() -> None:
    loop = "Paris Paris Paris Paris is lovely in spring and in autumn"
    assert full("response").judge(TALK, loop).kind == "garbage"
    lenient = {"garbage": {"max_repetition_ratio": 0.9}}
    assert full("response", lenient).judge(TALK, loop).verdict is OracleVerdict.CORROBORATED
    strict = {"response": {"min_chars": 5}}
    assert full("arithmetic", strict).judge(SUM, "4").verdict is OracleVerdict.FALSIFIED
    # The scenario's own setting goes before the playbook's.
    assert full("response", strict, min_chars=1).judge(TALK, "Yes").kind == ""
    third = Question(prompt="What is 10/3?")
    tolerant = {"arithmetic": {"tolerance": 0.02}}
    members = [{"kind": "arithmetic"}]
    assert full("composite", tolerant, oracles=members).judge(third, "3.3").kind == ""
    assert full("composite", oracles=members).judge(third, "3.3").kind == "wrong"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"garbge": {}}, "perhaps 'garbage' is meant"),
        ({"code_syntax": {"langauge": "python"}}, "perhaps 'language' is meant"),
        ({"exact": {"ignorecase": True}}, "perhaps 'ignore_case' is meant"),
        ({"composite": {}}, "oracles"),
    ],
)
def test_settings_that_no_scenario_uses_are_checked_too(
    overrides: dict[str, dict[str, object]], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        full("arithmetic", overrides)


def test_settings_for_exact_need_no_expectation() -> None:
    overrides: dict[str, dict[str, object]] = {"exact": {"ignore_case": False}}
    assert full("exact", overrides, expect="Paris").judge(TALK, "paris").kind == "wrong"


member = st.sampled_from(
    [
        ("right", {"kind": "contains", "config": {"any": "sea"}}),
        ("wrong", {"kind": "contains", "config": {"any": "mountain"}}),
        ("unchecked", {"kind": "arithmetic", "config": {}}),
    ]
)


@given(st.lists(member, min_size=1, max_size=5))
def test_composites(members: list[tuple[str, dict[str, Any]]]) -> None:
    specs = [spec for _, spec in members]
    judged = build_oracle(OracleSpec(kind="composite", config={"oracles": specs})).judge(
        TALK, "The sea is wide."
    )
    kinds = {kind for kind, _ in members}
    if "wrong" in kinds:
        expected = OracleVerdict.FALSIFIED
    elif "right" in kinds:
        expected = OracleVerdict.CORROBORATED
    else:
        expected = OracleVerdict.NOT_APPLICABLE
    assert judged.verdict is expected
    assert len(judged.parts) == len(members)
    assert any(part.oracle in judged.reason for part in judged.parts)


@given(st.text(), st.text())
def test_whatever_is_chosen_for_a_prompt_can_be_built_and_judges(prompt: str, answer: str) -> None:
    judged = oracle_for(choose_oracle(prompt)).judge(Question(prompt=prompt), answer)
    assert judged.reason


@pytest.mark.parametrize("language", PARSED_LANGUAGES)
def test_every_language_that_planning_counts_on_has_a_parser(language: str) -> None:
    judged = build_oracle(OracleSpec(kind="code_syntax", config={"language": language})).judge(
        TALK, "nothing of the kind"
    )
    assert judged.verdict is OracleVerdict.FALSIFIED
