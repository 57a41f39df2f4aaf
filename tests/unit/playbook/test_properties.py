from pathlib import Path

import pytest
import yaml

from aprqa_ci.errors import InputError
from aprqa_ci.playbook.properties import PropertyError, property_oracle, read_generator
from tests.playbooks import load, playbook_data


def test_a_generator_is_read() -> None:
    read = read_generator("arithmetic(a: 1..10, b: i32, op: +|*)")
    assert read.suites == ()
    assert read.operands == ((1, 10), (1, 99))
    assert read.operators == ("+", "*")
    assert read_generator("arithmetic()").operators == ("+", "-", "*")
    assert read_generator("arithmetic(a: -5..=-1)").operands[0] == (-5, -1)
    assert read_generator("code_prompt(lang: Python|rust)").languages == ("python", "rust")
    assert read_generator(" any_prompt(seed: fixed) ").suites[0] == "arithmetic"


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("arithmetic", "'arithmetic' is no generator", ""),
        ("arithmetic(", "is no generator", ""),
        ("f(g())", "is no generator", ""),
        ("arithmatic()", "there is no generator 'arithmatic'", "perhaps 'arithmetic' is meant"),
        ("zzz()", "there is no generator 'zzz'", "known: arithmetic, code_prompt"),
        ("qa_prompt(a: 1)", "qa_prompt(…) takes no 'a'", "it takes nothing"),
        ("arithmetic(c: 1)", "arithmetic(…) takes no 'c'", "it takes a, b, op"),
        ("arithmetic(a)", "'a' in arithmetic(…) is not `name: value`", ""),
        ("arithmetic(a: 9..1)", "'9..1' is neither an integer type nor a range", ""),
        ("arithmetic(a: 1..99999999)", "is neither an integer type nor a range", ""),
        ("arithmetic(op: %)", "'%' is not made of + - * /", ""),
        ("code_prompt(lang: a b)", "'a b' is not made of languages", ""),
    ],
)
def test_what_no_prompt_can_be_drawn_by(text: str, what: str, hint: str) -> None:
    with pytest.raises(PropertyError) as caught:
        read_generator(text)
    assert what in caught.value.what
    assert caught.value.hint.startswith(hint)


def test_what_must_hold_is_known_by_its_words() -> None:
    assert property_oracle("eval(a op b)==parse_int( output )") == "own"
    assert property_oracle("is_valid_syntax(output, lang)") == "code_syntax"
    assert property_oracle("!is_garbage(output)") == "garbage"
    assert property_oracle("run(seed) == run(seed)") == "repeat"
    with pytest.raises(PropertyError) as caught:
        property_oracle("corect")
    assert "perhaps 'correct' is meant" in caught.value.hint


def test_every_property_of_the_corpus_is_read(corpus: Path) -> None:
    read = 0
    for path in sorted(corpus.glob("*/*.yaml")):
        if path.parent.name in {"models", "templates"}:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            for test in data.get("property_tests", ()):
                read_generator(test["generator"])
                property_oracle(test["oracle"])
                read += 1
    assert read > 30


def test_every_problem_has_its_place() -> None:
    tests = [
        {"name": "a", "generator": "nope()", "oracle": "correct"},
        {"name": "a", "generator": "arithmetic()", "oracle": "nope"},
        {"name": "b", "generator": "arithmetic()", "oracle": "correct", "count": 9901},
    ]
    with pytest.raises(InputError) as caught:
        load(playbook_data(property_tests={"tests": tests, "cases": 50}))
    said = [problem.what for problem in caught.value.problems]
    assert sorted(said) == [
        "`property_tests.tests[0].generator`: there is no generator 'nope'",
        "`property_tests.tests[1].oracle`: there is no property 'nope'",
        "`property_tests.tests[1]` is the property 'a' again",
        "`property_tests` draws 10001 prompts, at most 10000 are drawn",
    ]
