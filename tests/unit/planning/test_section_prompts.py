"""Prompts that sections of a playbook ask for: all of them stand in the plan, or are named."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.oracles.registry import build_oracle
from aprqa_ci.planning.expand import PlanOptions, expand
from aprqa_ci.planning.plan import Plan, PlannedCell, PromptCase
from aprqa_ci.playbook.load import load_playbooks, load_template
from aprqa_ci.vocabulary import Category
from tests.playbooks import planned, playbook_data

ALL = {
    "model": {"formats": ["safetensors", "gguf"], "quantizations": ["q8_0", "q4_0"]},
    "test_matrix": {"modalities": ["run", "chat"]},
}


def plan_of(*, tier: str = "mvp", only: tuple[str, ...] = (), **sections: Any) -> Plan:
    return planned(playbook_data(**{**ALL, **sections}), tier=tier, only=only)


def asked(plan: Plan, suite: str) -> list[tuple[PlannedCell, PromptCase]]:
    return [
        (cell, scenario.prompt)
        for cell in plan.cells
        for scenario in cell.scenarios
        if scenario.prompt is not None and scenario.prompt.suite == suite
    ]


def of_properties(plan: Plan) -> list[PromptCase]:
    return [
        scenario.prompt
        for cell in plan.cells
        for scenario in cell.scenarios
        if scenario.prompt is not None and scenario.prompt.suite.startswith("property_tests#")
    ]


def not_run(plan: Plan) -> dict[str, str]:
    book = plan.playbooks[0]
    return {
        path: next(each for each in book.warnings if each.startswith(f"{path} is not "))
        for path in book.declared_not_run
    }


def entry(place: str, prompt: str) -> dict[str, str]:
    modality, backend, format_ = place.split("-")
    return {"modality": modality, "backend": backend, "format": format_, "prompt": prompt}


def test_prompts_of_single_combinations_are_asked_there() -> None:
    matrix = [
        entry("chat-cpu-gguf", "What is 2+2?"),
        entry("run-cpu-safetensors", "def f(a):"),
        entry("run-gpu-gguf", "List 3 colors"),
    ]
    plan = plan_of(mvp_matrix=matrix)
    first = asked(plan, "mvp_matrix#1")
    assert [cell.id for cell, _ in first] == ["tiny:chat-cpu-gguf-q8_0", "tiny:chat-cpu-gguf-q4_0"]
    assert first[0][1].turns == ("What is 2+2?",)
    assert first[0][1].oracle.kind == "arithmetic"
    ((cell, second),) = asked(plan, "mvp_matrix#2")
    assert cell.id == "tiny:run-cpu-safetensors"
    assert second.raw
    assert second.oracle.kind == "code_syntax"
    assert not_run(plan) == {
        "mvp_matrix[2]": "mvp_matrix[2] is not run: this plan has no cell run-gpu-gguf"
    }


def test_prompts_are_added_and_change_no_other_scenario() -> None:
    plain, more = plan_of(), plan_of(mvp_matrix=[entry("run-cpu-safetensors", "Hello")])
    before = {each.id: each for cell in plain.cells for each in cell.scenarios}
    after = {each.id: each for cell in more.cells for each in cell.scenarios}
    assert before.items() <= after.items()
    (added,) = after.keys() - before.keys()
    assert after[added].gate_id == "F-A1-001"


def test_what_a_narrowed_plan_leaves_out_is_named() -> None:
    matrix = [entry("chat-cpu-gguf", "Hello")]
    plan = plan_of(mvp_matrix=matrix, only=("run-*",))
    assert "mvp_matrix[0]" in plan.playbooks[0].declared_not_run


def test_a_verification_test_is_asked_in_its_formats() -> None:
    tests = [
        {"name": "one", "format": "gguf", "prompt": "What is 2+2?", "expect": "4"},
        {"name": "all", "prompt": "Hello"},
        {"name": "far", "format": "apr", "prompt": "Hello"},
        {"name": "odd", "type": "smoke", "formats": ["safetensors"], "prompt": "Hello"},
        {"name": "off", "tolerance": 0.1, "formats": ["safetensors"], "prompt": "Hello"},
    ]
    plan = plan_of(verification_tests=tests)
    first = asked(plan, "verification_tests#1")
    # The first modality of each quantization, and no other.
    assert [cell.id for cell, _ in first] == ["tiny:run-cpu-gguf-q8_0", "tiny:run-cpu-gguf-q4_0"]
    assert first[0][1].oracle.kind == "contains"
    assert first[0][1].oracle.config == {"all": ["4"]}
    build_oracle(first[0][1].oracle)
    assert len(asked(plan, "verification_tests#2")) == 3
    assert plan.playbooks[0].own_gates == ()
    assert list(not_run(plan)) == [
        "verification_tests[2]",
        "verification_tests[3].type",
        "verification_tests[4].tolerance",
    ]


def test_a_differential_test_is_a_gate_that_compares_the_formats() -> None:
    test = {"name": "same", "type": "differential", "prompt": "Hello"}
    tests = [test | {"tolerance": "semantic"}, test | {"tolerance": 0.25}]
    first, second = plan_of(verification_tests=tests).playbooks[0].own_gates
    assert (first.id, first.condition) == ("verification_tests[0]", "verification_agrees('1')")
    assert first.category is Category.COMP
    assert first.description == "same"
    assert second.condition == "verification_similarity('2') >= 0.75"


def test_one_format_alone_is_compared_with_nothing() -> None:
    test = {"name": "same", "type": "differential", "prompt": "Hello", "formats": ["gguf"]}
    plan = plan_of(verification_tests=[test])
    assert plan.playbooks[0].own_gates == ()
    said = "verification_tests[0] is not compared: it is asked in one format of this plan"
    assert not_run(plan) == {"verification_tests[0]": said}


def properties(*tests: dict[str, Any], **section: Any) -> Plan:
    return plan_of(property_tests={"tests": list(tests), **section})


def property_test(generator: str, oracle: str = "correct", **more: Any) -> dict[str, Any]:
    return {"name": "p", "generator": generator, "oracle": oracle, **more}


def test_every_drawn_prompt_stands_in_the_plan() -> None:
    plan = properties(property_test("arithmetic(a: 1..10, b: 1..10, op: +)", count=20))
    cells = [
        cell
        for cell in plan.cells
        if of_properties(Plan(tool_version="0", playbooks=(), cells=(cell,), shards=()))
    ]
    assert len(cells) == len(plan.cells) == 6
    cases = of_properties(plan)
    assert len(cases) == 20
    assert {case.oracle.kind for case in cases} == {"arithmetic"}
    assert len({case.turns for case in cases}) > 10
    for case in cases:
        left, sign, right = case.turns[0].removeprefix("What is ").rstrip("?").split(" ")
        assert sign == "+"
        assert 1 <= int(left) <= 10
        assert 1 <= int(right) <= 10


def test_prompts_follow_from_the_seed_alone() -> None:
    test = {"tests": [property_test("any_prompt()", count=12)]}
    again = [of_properties(plan_of(property_tests=test)) for _ in range(2)]
    assert again[0] == again[1]
    other = of_properties(
        plan_of(property_tests=test, test_matrix={"modalities": ["run", "chat"], "seed": 7})
    )
    assert [case.turns for case in other] != [case.turns for case in again[0]]


def test_how_many_are_drawn() -> None:
    assert len(of_properties(properties(property_test("qa_prompt()", count=7)))) == 7
    assert len(of_properties(properties(property_test("qa_prompt()"), cases=9))) == 9
    assert len(of_properties(properties(property_test("qa_prompt()"), enabled=False))) == 0
    none = properties(property_test("qa_prompt()", count=0))
    assert of_properties(none) == []
    assert none.playbooks[0].declared_not_run == ()


def test_quotients_are_whole() -> None:
    plan = properties(property_test("arithmetic(a: 0..9, b: 0..9, op: /)", count=40))
    for case in of_properties(plan):
        left, _, right = case.turns[0].removeprefix("What is ").rstrip("?").split(" ")
        assert int(left) % int(right) == 0


@pytest.mark.parametrize(
    ("generator", "oracle", "kinds"),
    [
        ("code_prompt()", "valid_syntax", {"code_syntax"}),
        ("code_prompt(lang: rust|python)", "is_valid_syntax(output, lang)", {"code_syntax"}),
        ("any_prompt()", "!is_garbage(output)", {"garbage"}),
        ("any_prompt()", "output.len() > 0", {"response"}),
        ("chat_prompt()", "coherent_response", {"response"}),
    ],
)
def test_the_oracle_is_the_one_that_was_named(generator: str, oracle: str, kinds: set[str]) -> None:
    cases = of_properties(properties(property_test(generator, oracle, count=12)))
    assert len(cases) == 12
    assert {case.oracle.kind for case in cases} == kinds
    for case in cases:
        build_oracle(case.oracle)


def test_prompts_of_suites_keep_their_own_oracles() -> None:
    cases = of_properties(properties(property_test("any_prompt()", count=30)))
    assert len({case.oracle.kind for case in cases}) > 2


@pytest.mark.parametrize(
    ("test", "path", "why"),
    [
        (property_test("any_prompt()", "run(seed) == run(seed)"), "property_tests.p", "REPEAT"),
        (property_test("code_prompt(lang: rust)", "valid_syntax"), "property_tests.p", "rust"),
        (property_test("code_prompt(lang: go|python)"), "property_tests.p(go)", "python"),
        (property_test("arithmetic()", "valid_syntax"), "property_tests.p", "oracle"),
    ],
)
def test_what_cannot_be_tested_is_named(test: dict[str, Any], path: str, why: str) -> None:
    said = not_run(properties(test))
    assert list(said) == [path]
    assert why in said[path]


def test_shrinking_is_named_where_it_is_asked_for() -> None:
    plan = properties(property_test("qa_prompt()", count=1), max_shrink_iters=10)
    assert list(not_run(plan)) == ["property_tests.max_shrink_iters"]


def test_the_corpus_drops_nothing(corpus: Path) -> None:
    """Each section of each playbook is executed, or is named with what is left out of it."""
    loaded = load_playbooks([corpus / "models"])
    values = {"MODEL_ID": "org/tiny", "HF_REPO": "org/tiny", "MODEL_NAME": "tiny"}
    for path in sorted((corpus / "templates").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        used = {name: value for name, value in values.items() if f"${{{name}}}" in text}
        loaded.append(load_template(path, used))
    drawn = Counter[str]()
    for each in loaded:
        plan = expand([each], options=PlanOptions(tier="mvp"), tool_version="0", root=corpus)
        playbook = each.playbook
        suites = {
            scenario.prompt.suite
            for cell in plan.cells
            for scenario in cell.scenarios
            if scenario.prompt is not None
        }
        named = " ".join(plan.playbooks[0].declared_not_run)
        tests = playbook.property_tests.tests if playbook.property_tests else ()
        expected = {f"property_tests#{test.name}": f"property_tests.{test.name}" for test in tests}
        for section, items in (
            ("mvp_matrix", playbook.mvp_matrix),
            ("verification_tests", playbook.verification_tests),
        ):
            for number in range(len(items or ())):
                expected[f"{section}#{number + 1}"] = f"{section}[{number}]"
        for suite, path_ in expected.items():
            assert suite in suites or path_ in named, (playbook.name, suite)
            drawn[suite.partition("#")[0]] += suite in suites
    assert drawn["property_tests"] > 30
    assert drawn["mvp_matrix"] == 18
    assert drawn["verification_tests"] == 4
