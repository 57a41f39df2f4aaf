import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aprqa_ci.errors import InputError
from aprqa_ci.playbook import yaml_source
from aprqa_ci.playbook.yaml_source import (
    MAX_YAML_BYTES,
    MAX_YAML_DEPTH,
    read_yaml,
    show_path,
)


def read(text: str) -> Any:
    return read_yaml(text.encode(), source="f.yaml").data


def problems(data: str | bytes) -> list[tuple[int | None, str]]:
    with pytest.raises(InputError) as caught:
        read_yaml(data.encode() if isinstance(data, str) else data, source="f.yaml")
    assert all(problem.path == "f.yaml" for problem in caught.value.problems)
    return [(problem.line, problem.what) for problem in caught.value.problems]


def test_plain_data() -> None:
    text = "a: 1e-5\nb: yes\nc: [1, 'two', \"3\", ~]\nd: {e: true}\nf: |\n  two\n  lines\n"
    assert read(text) == {
        "a": 1e-5,
        "b": "yes",
        "c": [1, "two", "3", None],
        "d": {"e": True},
        "f": "two\nlines\n",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("--- x\n...\n", "x"),
        ("\ufeffa: 1", {"a": 1}),
        ("%YAML 1.2\n---\na: 1", {"a": 1}),
        ("a: !!int '3'", {"a": 3}),
        ("a: !!seq [!!str 3]\nb: !!map {}", {"a": ["3"], "b": {}}),
        ("a: ! 3", {"a": "3"}),
        ("'<<': 1", {"<<": 1}),
        ("'1': 1", {"1": 1}),
        ("? a\n: b", {"a": "b"}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ('a: "\\u2028"', {"a": "\u2028"}),
        ("a: &x [1]\nb: *x\nc: &x 2\nd: *x", {"a": [1], "b": [1], "c": 2, "d": 2}),
    ],
)
def test_accepted(text: str, value: object) -> None:
    assert read(text) == value


def test_aliases_share_nothing() -> None:
    data = read("a: &x [1]\nb: *x")
    data["a"].append(2)
    assert data["b"] == [1]


def test_lines() -> None:
    document = read_yaml(b"# c\na: 1\nb:\n  c:\n    - x\n    - {d: 1,\n       e: 2}\n", source="f")
    assert document.lines == {
        (): 2,
        ("a",): 2,
        ("b",): 3,
        ("b", "c"): 4,
        ("b", "c", 0): 5,
        ("b", "c", 1): 6,
        ("b", "c", 1, "d"): 6,
        ("b", "c", 1, "e"): 7,
    }
    assert document.line_of(("b", "c", 1, "missing", 3)) == 6
    assert document.line_of(("nothing",)) == 2


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "the file is empty"),
        ("# only\n", 1, "the file is empty"),
        ("a: 1\nb: 2\na: 3", 3, "the key 'a' is given twice, first on line 1"),
        ("a: 1\n? [x]\n: 2", 2, "a key must be text, and this is a list"),
        ("{a: 1}: 2", 1, "a key must be text, and this is a map"),
        ("1: 2", 1, "a key must be text, and this is 1"),
        ("null: 2", 1, "a key must be text, and this is None"),
        ("a: {}\nb:\n  <<: {}", 3, "merge keys (<<) are not accepted"),
        ("a: !x 1", 1, "the tag '!x' is not accepted"),
        ("a: !!set {x}", 1, "the tag 'tag:yaml.org,2002:set' is not accepted"),
        ("a: !!seq {x: 1}", 1, "the tag 'tag:yaml.org,2002:seq' is not accepted"),
        ("a: !!python/object:x []", 1, "the tag 'tag:yaml.org,2002:python/object:x'"),
        ("a: .inf", 1, ".inf is not a finite number"),
        ("a: b\n---\nc", 2, "a second document starts here"),
        ("%YAML 1.1\n---\na: 1", 1, "the file says that it is not YAML 1.2"),
        ("a: *x", 1, "the alias *x has no anchor before it"),
        ("\na: &x [*x]", 2, "the alias *x stands inside what it refers to"),
        ("a: &x 1\nb: &x [*x]", 2, "the alias *x stands inside what it refers to"),
        ("a: [1,\nb: 2", 2, "while parsing a flow sequence that starts on line 1, did not find"),
        ('a: "x', 1, "not valid YAML: while scanning a quoted scalar"),
        ('a: "\\ud800"', 1, "not valid YAML"),
        ("a: @x", 1, "not valid YAML"),
        ("a: 1\nb: \x00", 2, "the character U+0000 is not allowed"),
        ("a: \x1b[31m", 1, "the character U+001B is not allowed"),
        ("a: x\u2028y", 1, "the character U+2028 is not allowed"),
        ("a: x\ufeffy", 1, "the character U+FEFF is not allowed"),
        ("[" * (MAX_YAML_DEPTH + 1), 1, "nested more than 32 deep"),
        ("[" * 200_000, 1, "nested more than 32 deep"),
        ("- " * 100_000, 1, "nested more than 32 deep"),
    ],
)
def test_refused(text: str, line: int, what: str) -> None:
    found = problems(text)
    assert [at for at, said in found if what in said] == [line]


def test_bytes_that_are_not_utf_8() -> None:
    assert problems(b"a: 1\nb: \xff\n") == [(2, "byte 8 is not UTF-8")]
    assert problems("a: 1".encode("utf-16"))[0][1].endswith("is not UTF-8")


def test_size() -> None:
    longest = b"a: " + b"x" * (MAX_YAML_BYTES - 3)
    assert len(read_yaml(longest, source="f").data["a"]) == MAX_YAML_BYTES - 3
    assert problems(longest + b"x") == [
        (None, "the file has 262145 bytes; at most 262144 are read")
    ]


def test_everything_is_said_at_once() -> None:
    found = problems("a: .nan\na: 1\n1: 2\nb: !x 3\n<<: {}\n")
    assert [line for line, _ in found] == [1, 2, 3, 4, 5]


def test_problems_are_bounded() -> None:
    assert len(problems("\n".join(["- .nan"] * 5000))) == 100
    found = problems("\n".join(["- .nan"] * 99 + ["- ["]))
    assert (len(found), found[-1][1][:14]) == (100, "not valid YAML")


def test_a_tab_gets_its_hint() -> None:
    with pytest.raises(InputError, match="indent with spaces, never with tabs"):
        read("a:\n\tb: 1")


def test_alias_bomb_is_refused() -> None:
    rows = ["a0: &a0 [xxxxxxxxxx]"]
    rows += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 7)]
    assert "the aliases expand to more than 262144 characters" in problems("\n".join(rows))[0][1]


def test_many_aliases_of_a_long_text_are_refused() -> None:
    text = f"a: &x {'y' * 100_000}\nb: [*x, *x, *x]"
    assert "the aliases expand" in problems(text)[0][1]
    assert len(read(f"a: &x {'y' * 100_000}\nb: [*x, *x]")["b"]) == 2


def test_large_files_without_aliases_are_no_bombs() -> None:
    text = "[" + ",".join(["1"] * 100_000) + "]"
    assert len(read(text)) == 100_000


def test_aliases_do_not_lead_around_the_depth() -> None:
    deep = "a: &x " + "[" * 20 + "]" * 20
    assert read(deep + "\nb: [*x]")["b"]
    assert "nested more than 32 deep" in problems(deep + "\nb: " + "[" * 15 + "*x" + "]" * 15)[0][1]
    assert read("[" * MAX_YAML_DEPTH + "]" * MAX_YAML_DEPTH)


def test_the_pure_python_parser_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.setattr(yaml_source, "_LOADER", yaml.SafeLoader)
    assert read("a: 1e-5\nb: [yes, &x 'q', *x]") == {"a": 1e-5, "b": ["yes", "q", "q"]}
    assert problems("a: 1\na: [")[0][0] == 2


def test_paths_are_shown_as_people_write_them() -> None:
    assert show_path(("test_matrix", "modalities", 1)) == "test_matrix.modalities[1]"
    assert show_path((0, "a")) == "[0].a"
    assert show_path(()) == ""
    assert "\x1b" not in show_path(("\x1b[31m",))


@given(st.text() | st.text(alphabet="abc:-[]{}&*!<>?|'\"\n #%,.0123~"))
def test_any_text_is_data_or_an_input_error(text: str) -> None:
    try:
        data = read_yaml(text.encode("utf-8", "surrogatepass"), source="f").data
    except InputError as error:
        data = [problem.what for problem in error.problems]
    assert json.dumps(data, allow_nan=False)


plain = st.text(
    st.characters(
        blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\ufeff\ufffe\uffff"
    )
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), 1 << 63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | plain
)


@settings(max_examples=50)
@given(st.recursive(scalars, lambda x: st.lists(x) | st.dictionaries(plain, x), max_leaves=20))
def test_json_reads_as_itself(value: object) -> None:
    # JSON is YAML 1.2, with floats that YAML 1.1 would not take: 1e-05.
    assert read(json.dumps(value, ensure_ascii=False)) == value
