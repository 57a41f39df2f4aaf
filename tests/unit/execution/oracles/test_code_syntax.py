import ast
import json
import keyword
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.execution.oracles.code_syntax import CodeSyntaxConfig, CodeSyntaxOracle
from aprqa_ci.execution.oracles.interface import Judgement, OracleVerdict, Question

ASKED = "Write a Python function."
name = st.sampled_from(["alpha", "beta", "gamma", "delta"])


def judge(answer: str, prompt: str = ASKED, *, raw: bool = False, **config: Any) -> Judgement:
    oracle = CodeSyntaxOracle(config=CodeSyntaxConfig(**(config or {"language": "python"})))
    return oracle.judge(Question(prompt=prompt, raw=raw), answer)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Draw a program as a syntax tree and write it out."""
    value = st.one_of(
        st.integers(0, 99).map(ast.Constant), name.map(lambda word: ast.Name(id=word))
    )
    expression = st.recursive(
        value,
        lambda inner: st.one_of(
            st.builds(lambda a, b: ast.BinOp(left=a, op=ast.Add(), right=b), inner, inner),
            st.builds(
                lambda f, a: ast.Call(func=ast.Name(id=f), args=[a], keywords=[]), name, inner
            ),
            st.lists(inner, max_size=3).map(lambda items: ast.List(elts=items)),
        ),
        max_leaves=6,
    )
    body = [
        ast.Assign(targets=[ast.Name(id=draw(name))], value=draw(expression), lineno=1),
        ast.Return(value=ast.Call(func=ast.Name(id="f"), args=[draw(expression)], keywords=[])),
    ]
    arguments = ast.arguments(
        posonlyargs=[], args=[ast.arg(arg="x")], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    function = ast.FunctionDef(
        name=draw(name), args=arguments, body=body, decorator_list=[], lineno=1
    )
    return ast.unparse(ast.fix_missing_locations(ast.Module(body=[function], type_ignores=[])))


WRAPPERS = [
    "{}",
    "```python\n{}\n```",
    "Here you are:\n\n```py\n{}\n```\n\nEnjoy!",
    "```\n{}\n```",
    "Sure, this works:\n\n{}\n\nIt returns a value.",
    "\x1b[32m{}\x1b[0m",
]


@given(programs(), st.sampled_from(WRAPPERS))
def test_programs_pass(program: str, wrapper: str) -> None:
    judged = judge(wrapper.format(program))
    assert judged.verdict is OracleVerdict.CORROBORATED, judged.reason


@given(programs(), st.sampled_from(WRAPPERS), st.data())
def test_programs_with_one_bracket_less_fail(
    program: str, wrapper: str, data: st.DataObject
) -> None:
    brackets = [at for at, character in enumerate(program) if character in "()[]"]
    at = data.draw(st.sampled_from(brackets))
    broken = program[:at] + program[at + 1 :]
    assert judge(wrapper.format(broken)).verdict is OracleVerdict.FALSIFIED


@given(st.text())
def test_never_fails(answer: str) -> None:
    for language in ("python", "json", "rust"):
        assert judge(answer, language=language).reason
    assert judge(answer, "def f(a):", raw=True, language="python").reason
    assert judge(answer, languages=("python", "json")).reason


@given(st.lists(st.sampled_from(["hello", "there", "friend", "yes", "no"]), min_size=1, max_size=5))
def test_prose_is_no_program(said: list[str]) -> None:
    assert not any(keyword.iskeyword(word) for word in said)
    for separator in (" ", ", ", "\n", ". "):
        assert judge(separator.join(said)).verdict is OracleVerdict.FALSIFIED


value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), value, min_size=1), st.sampled_from(["{}", "```json\n{}\n```"]))
def test_json(content: dict[str, object], wrapper: str) -> None:
    text = json.dumps(content | {"x": 1})
    assert judge(wrapper.replace("{}", text), language="json").verdict is OracleVerdict.CORROBORATED
    broken = wrapper.replace("{}", text[:-1])
    assert judge(broken, language="json").verdict is OracleVerdict.FALSIFIED


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("(" * 5000, "nested"),
        ("x = " + "-" * 60_000 + "1", "nested"),
        ("x = 1\x00", "null"),
        ("```python\n# nothing\n```", "no statement in it"),
        ("", "nothing was answered"),
        ("def f(:\n    pass", "line 1"),
        ("```javascript\nlet x;\n```", "python was asked for, the fence names javascript"),
    ],
)
def test_what_cannot_be_read_is_wrong(answer: str, says: str) -> None:
    judged = judge(answer)
    assert judged.verdict is OracleVerdict.FALSIFIED
    assert says in judged.reason
    assert judged.kind == "wrong"


@pytest.mark.parametrize(
    ("answer", "config", "says"),
    [
        ("```rust\nfn f() {}\n```", {"language": "rust"}, "no parser for rust here"),
        ("fn f() {}", {"language": "rs"}, "no parser for rust here"),
        ("```python\nx = 1\n```", {"language": "rust"}, "no parser for rust here"),
        ("```go\nx\n```", {"languages": ("python", "go")}, "no parser for go here"),
        ("```java\nx\n```", {"languages": ("python", "go")}, "the fence names java"),
        ("```\nx = 1\n```", {"languages": ("python", "go")}, "the fence names no language"),
        ("x = 1", {"languages": ("python", "go")}, "neither the prompt nor a fence"),
        ("no idea", {"language": "python", "required": False}, "no python in the answer"),
    ],
)
def test_what_is_not_checked_says_so(answer: str, config: dict[str, Any], says: str) -> None:
    judged = judge(answer, "Write some code.", **config)
    assert judged.verdict is OracleVerdict.NOT_APPLICABLE
    assert says in judged.reason


def test_blocks_of_output_are_not_code() -> None:
    answer = "```python\nprint(1)\n```\nprints\n```text\n1 (\n```"
    assert judge(answer).verdict is OracleVerdict.CORROBORATED
    both = "```python\nprint(1)\n```\n```python\nprint(\n```"
    assert judge(both).verdict is OracleVerdict.FALSIFIED


def test_defines() -> None:
    for answer in (
        "def add(a, b):\n    return a + b",
        "class add:\n    x = 1",
        "async def add(): f()",
    ):
        judged = judge(answer, language="python", defines="add")
        assert judged.verdict is OracleVerdict.CORROBORATED
    judged = judge("def adder(a, b):\n    return a + b", language="python", defines="add")
    assert judged.verdict is OracleVerdict.FALSIFIED
    with pytest.raises(InputError, match="python only"):
        CodeSyntaxConfig(language="json", defines="x")


@pytest.mark.parametrize(
    ("prompt", "answer", "right"),
    [
        ("def f(a):", "\n    return a", True),
        ("def f(a):", "\n    return a\n\nThis function returns", True),
        ("def f(a):", "\n    b = a\n    return (b + ", True),
        ("def f(a):", "\n    return (b + ", False),
        ("def f(a):", "\n    if a\n        return 1\n    return 2", False),
        ("def f(a):", "", False),
        ("def f(a):", "\nreturn a", False),
        ("x = [1, 2", ", 3]", True),
        ("x = [1, 2", " and so on", False),
    ],
)
def test_raw_prompts_are_continued(prompt: str, answer: str, right: bool) -> None:
    judged = judge(answer, prompt, raw=True, language="python")
    assert judged.verdict is (OracleVerdict.CORROBORATED if right else OracleVerdict.FALSIFIED)


def test_a_warning_of_the_parser_is_no_fault() -> None:
    assert judge(r"print('\d')").verdict is OracleVerdict.CORROBORATED


@pytest.mark.parametrize(
    "unit", ["```\n", "def f(:\n", "not ", "a.b", "[", "'", "# x\n", "x = (\n"]
)
def test_hostile_answers_come_to_an_end(unit: str) -> None:
    assert judge(unit * (70_000 // len(unit))).reason
