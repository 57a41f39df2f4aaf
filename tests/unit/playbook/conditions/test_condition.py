from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.playbook.conditions.catalogue import fact_catalogue, function_catalogue
from aprqa_ci.playbook.conditions.condition import read_condition
from aprqa_ci.playbook.conditions.syntax import Binary, Call, Fact, Ternary, parse_condition
from aprqa_ci.playbook.conditions.tokens import ConditionError

SOUND = [
    ("loaded", "cell"),
    ("!load_error", "cell"),
    ("output.len() > 0", "scenario"),
    ("output.length > 0 && !stderr.contains('panic')", "scenario"),
    ("!is_garbage(output)", "scenario"),
    ("arithmetic_oracle(prompt, output)", "scenario"),
    ("exit_code == 0 && !panic", "scenario"),
    ("backend == 'cpu' => tps >= 10", "cell"),
    ("ttft < (backend == 'cpu' ? 2000 : 5e2)", "cell"),
    ("gpu_tps / cpu_tps >= 2.0", "run"),
    ("run(seed=42) == run(seed=42)", "cell"),
    ("gguf_output ≈ apr_output", "run"),
    ("gguf_output ~= apr_output", "run"),
    ("-duration_ms < 1 - 2 * 3", "scenario"),
]


@pytest.mark.parametrize(("text", "scope"), SOUND)
def test_sound_conditions_are_read(text: str, scope: str) -> None:
    assert read_condition(text).scope == scope


def test_what_a_condition_needs_is_known() -> None:
    read = read_condition("arithmetic_oracle(prompt, output) || gpu_tps > mqs_score")
    assert read.facts == ("gpu_tps", "mqs_score", "output", "prompt")
    assert read.needs == ("F-PERF-TPS-001", "gpu", "oracle:arithmetic")
    assert read.unoffered == ("mqs_score",)


def test_every_condition_of_the_corpus_is_read(corpus: Path) -> None:
    conditions = [
        gate["condition"]
        for path in sorted((corpus / "templates").glob("*.yaml"))
        for gate in yaml.safe_load(path.read_text(encoding="utf-8")).get("falsification_gates", ())
    ]
    assert len(conditions) > 30
    for text in conditions:
        read_condition(text)


@pytest.mark.parametrize(
    ("text", "what", "column", "hint"),
    [
        ("ouput.len() > 0", "there is no fact 'ouput'", 1, "perhaps 'output' is meant"),
        ("1 < zzz", "there is no fact 'zzz'", 5, "`aprqa facts` lists"),
        ("is_garbge(output)", "there is no function", 1, "perhaps 'is_garbage' is meant"),
        ("is_garbage", "'is_garbage' is a function", 1, ""),
        ("output.len()", "gives a number; a condition is true or false", 1, ""),
        ("'a' == 'b'", "speaks of no recorded fact", 1, ""),
        ("true", "speaks of no recorded fact", 1, ""),
        ("output == output", "compares a thing with itself", 8, ""),
        ("tps + 1 >= tps + 1", "compares a thing with itself", 9, ""),
        ("tps == 'x'", "a text stands beside '==', where a number is expected", 8, ""),
        ("output > 1", "a text stands beside '>'", 1, ""),
        ("loaded && tps", "a number stands beside '&&'", 11, ""),
        ("!tps", "a number stands after '!'", 2, ""),
        ("-loaded < 1", "true or false stands after '-'", 2, ""),
        ("loaded ? 1 : output", "a text stands after ':'", 14, ""),
        ("tps ? loaded : loaded", "a number stands before '?'", 1, ""),
        ("tps ≈ ttft", "'≈' compares answers", 5, ""),
        ("cpu_output == gpu_output", "'≈' compares answers", 12, ""),
        ("len(output, 1) > 2", "len takes text and nothing else", 1, ""),
        ("len(x=output) > 2", "len takes text and nothing else", 1, ""),
        ("len(tps) > 2", "a number stands in len(…)", 5, ""),
        ("syntax_check(stdout)", "syntax_check takes the fact 'output' here", 14, ""),
        ("run(seed=1) == run(seed=2)", "only be compared with the same run(…)", 1, ""),
        ("1 < tps < 3", "comparisons cannot be chained", 9, "join them with &&"),
        ("loaded & stable", "'&' has no meaning here", 8, "and is written &&"),
        ("loaded and stable", "an operator is expected before 'and'", 8, ""),
        ("loaded &&", "is expected before its end", 10, ""),
        ("(loaded", "')' is expected before its end", 8, ""),
        ("output.foo", "'(' is expected after 'foo'", 11, ""),
        ("output.1", "a name is expected before '1'", 8, ""),
        ("output. == 1", "a name is expected before '=='", 9, ""),
        ("len(output prompt) > 1", "',' is expected before 'prompt'", 12, ""),
        ("output == 'a", "a text that starts here has no end", 11, ""),
        ("output == 'a\\n'", "a text that starts here has no end", 11, ""),
        ("tps > 1e300", "1e300 is larger than 1e+15", 7, ""),
        ("", "is expected before its end", 1, ""),
        ("__import__('os').system('x') == 1", "there is no function 'system'", 18, ""),
        ("lambda: 1", "an operator is expected before", 7, ""),
        ("!" * 40 + "loaded", "is nested more than 32 deep", 34, ""),
        ("(" * 40 + "loaded" + ")" * 40, "is nested more than 32 deep", 34, ""),
        (" + ".join(["tps"] * 40) + " > 1", "is nested more than 32 deep", 197, ""),
        ("output" + ".len()" * 40, "is nested more than 32 deep", 200, ""),
        ("loaded " + "&& (loaded) " * 200, "has more than 512 words and signs", 0, ""),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    text: str, what: str, column: int, hint: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        read_condition(text)
    assert what in caught.value.what
    if "nested" not in what and column:
        assert caught.value.column == column
    assert hint in caught.value.hint
    assert caught.value.column >= 1


def test_operators_bind_as_they_are_documented() -> None:
    tree = parse_condition("a => b || c && d == 1 + 2 * -x.len() ? e : f => g => h")
    assert isinstance(tree, Ternary)
    assert isinstance(tree.condition, Binary)
    assert tree.condition.sign == "=>"
    either = tree.condition.right
    assert isinstance(either, Binary)
    assert either.sign == "||"
    both = either.right
    assert isinstance(both, Binary)
    assert both.sign == "&&"
    last = tree.otherwise
    assert isinstance(last, Binary)
    assert isinstance(last.left, Fact)  # => groups to the right
    difference = parse_condition("a - b - c")
    assert isinstance(difference, Binary)
    assert isinstance(difference.left, Binary)  # everything else to the left
    assert isinstance(parse_condition("a.contains('x')"), Call)


def test_two_parts_are_equal_wherever_they_stand() -> None:
    assert parse_condition("a+b") == parse_condition("  a  +  b")
    assert parse_condition("a+b") != parse_condition("b+a")


SIGNS = [*list("().,=<!-+*/?:≈12é\\"), "==", "&&", "||", "=>", "~=", "2.5", "'x'", "true", "run"]
ALPHABET = st.sampled_from([*fact_catalogue(), *function_catalogue(), *SIGNS])


@given(st.lists(ALPHABET, max_size=60).map(" ".join) | st.text(max_size=80))
def test_anything_is_read_or_refused(text: str) -> None:
    refusal = None
    try:
        assert read_condition(text).facts
    except ConditionError as error:
        refusal = error
    if refusal is not None:
        assert refusal.what
        assert 1 <= refusal.column <= len(text) + 1


def test_the_catalogue_names_what_is_there() -> None:
    known: dict[str, Any] = {**fact_catalogue(), **function_catalogue()}
    assert len(known) == len(fact_catalogue()) + len(function_catalogue())
    for entry in known.values():
        assert entry.meaning
