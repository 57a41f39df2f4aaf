import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.playbook.model import Playbook
from aprqa_ci.playbook.schema_findings import schema_findings

SHIPPED = Path(__file__).parents[3] / "aprqa_ci" / "data" / "schemas" / "playbook.schema.json"
SCHEMA: dict[str, Any] = json.loads(SHIPPED.read_text(encoding="utf-8"))


def said(document: object) -> list[str]:
    return sorted(
        f"{finding.what} ({finding.hint})" if finding.hint else finding.what
        for finding in schema_findings(document, SCHEMA)
    )


def change(data: dict[str, Any], path: str, value: object) -> None:
    *parents, last = path.split(".")
    for key in parents:
        data = data.setdefault(key, {})
    data[last] = value


def test_nothing_to_find(minimal: dict[str, Any]) -> None:
    assert said(minimal) == []


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        ("version", 1.0, "`version` is 1.0; expected text (put it in quotes)"),
        ("version", "1.0", "`version` is '1.0'; expected three numbers, \"1.0.0\""),
        ("name", None, "`name` is empty; expected text"),
        ("descripton", "x", "unknown key `descripton` (perhaps 'description' is meant)"),
        ("description", "x" * 501, "`description` has 501 characters; at most 500 are allowed"),
        ("description", [1], "`description` is [1]; expected text"),
        ("model", [], "`model` is []; expected a mapping"),
        ("model.family", 7, "`model.family` is 7; expected text (put it in quotes)"),
        (
            "model.formats",
            ["gguf", "GGUF", "gguf"],
            "is 'GGUF'; allowed: apr, gguf, safetensors (perhaps 'gguf' is meant)",
        ),
        ("model.formats", ["gguf", "gguf"], "`model.formats` lists 'gguf' more than once"),
        (
            "model.expected_num_heads",
            1.5,
            "`model.expected_num_heads` is 1.5; expected a whole number",
        ),
        (
            "model.expected_num_heads",
            True,
            "`model.expected_num_heads` is true; expected a whole number",
        ),
        ("model.expected_num_heads", 0, "`model.expected_num_heads` is 0; it must be at least 1"),
        (
            "test_matrix.modalities",
            "run",
            "`test_matrix.modalities` is 'run'; expected a list (write [run])",
        ),
        (
            "test_matrix.modalities",
            ["run", "stream"],
            "`test_matrix.modalities[1]` is 'stream'; allowed: chat, run, serve",
        ),
        (
            "test_matrix.backends",
            [],
            "`test_matrix.backends` has 0 items; at least 1 must be given",
        ),
        (
            "test_matrix.scenario_count",
            1001,
            "`test_matrix.scenario_count` is 1001; it must be at most 1000",
        ),
        (
            "test_matrix.seed",
            1 << 63,
            "`test_matrix.seed` is 9223372036854775808; it must be at most",
        ),
        ("test_matrix.timeout_ms", 3.0, "`test_matrix.timeout_ms` is 3.0; expected a whole number"),
        (
            "test_matrix.prompts",
            [""],
            "`test_matrix.prompts[0]` has 0 characters; at least 1 must be",
        ),
        ("gates.g1_model_loads", 1, "`gates.g1_model_loads` is 1; expected true or false"),
        (
            "gates.g5",
            True,
            "unknown key `gates.g5` (known here: g1_model_loads, g2_basic_inference",
        ),
        ("oracles", [3], "`oracles[0]` is 3; expected a mapping"),
        (
            "oracles",
            [{}],
            "`oracles[0].type` is missing; allowed: arithmetic, garbage, code_syntax",
        ),
        ("oracles", [{"type": 3}], "`oracles[0].type` is 3; allowed: arithmetic"),
        ("oracles", [{"type": "garbge"}], "(perhaps 'garbage' is meant)"),
        (
            "oracles",
            [{"type": "garbage", "config": {"tolerance": 1}}],
            "unknown key `oracles[0].config.tolerance` (known here: max_repetition_ratio,",
        ),
        (
            "oracles",
            [{"type": "arithmetic", "config": {"tolerance": 1}}],
            "`oracles[0].config.tolerance` is 1; it must be less than 1.0",
        ),
        ("profile_ci.assertions.max_p50_ms", 0, "it must be more than 0.0"),
        (
            "profile_ci.assertions.max_p50_ms",
            "x",
            "`profile_ci.assertions.max_p50_ms` is 'x'; expected a number",
        ),
        ("metadata.x", {"y": 1}, '`metadata.x` is {"y": 1}; expected text or a whole number or'),
        ("metadata.x", [[1]], "`metadata.x[0]` is [1]; expected text or"),
        (
            "metadata",
            {f"k{n}": n for n in range(101)},
            "`metadata` has 101 entries; at most 100 are allowed",
        ),
        ("metadata", {"": 1}, "a key of `metadata` has 0 characters; at least 1 must be given"),
        ("state_machine.states", 3, "`state_machine.states` is 3; expected a list or a mapping"),
        (
            "state_machine.states",
            {"a": {"on_enter": [{}]}},
            "`state_machine.states.a.on_enter[0].action` is missing",
        ),
        (
            "verification_tests",
            [{"name": "a", "prompt": "b", "tolerance": 3}],
            "it must be at most 1.0",
        ),
        (
            "model.quantizations",
            ["Q4_K_M"],
            "q4_k_m, iq4_nl and 20 more (perhaps 'q4_k_m' is meant)",
        ),
        (
            "model.hf_repo",
            "x" * 300,
            "`model.hf_repo` is '" + "x" * 59 + "…; expected a repository",
        ),
    ],
)
def test_messages(minimal: dict[str, Any], path: str, value: object, what: str) -> None:
    change(minimal, path, value)
    assert what in "\n".join(said(minimal))


def test_missing_keys_are_said_once_each() -> None:
    assert said({"model": {}}) == [
        "`model.hf_repo` is missing",
        "`name` is missing",
        "`test_matrix` is missing",
        "`version` is missing",
    ]


def test_the_document_itself() -> None:
    assert said([]) == ["the document is []; expected a mapping"]


def test_messages_hold_no_control_characters(minimal: dict[str, Any]) -> None:
    minimal["\x1b[31m"] = 1
    minimal["name"] = "\x1b[31m"
    minimal["gates"] = {"g1_model_loads": ["\u202e"]}
    assert all(text.isprintable() for text in said(minimal))
    assert len(said(minimal)) == 3


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2000)
    | st.floats(-2, 2)
    | st.text(max_size=5)
    | st.sampled_from(["run", "gguf", "cpu", "garbage", "q8_0", "a/b", "1.0.0", "I-2", "tiny"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "config", "enabled", "formats", "hf_repo", "tests", "prompts", "states",
                 "name", "tolerance", "gates", "invariants", "prompt", "description", "condition",
                 "id", "modalities", "backends", "languages", "tier"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)  # fmt: skip


@given(key=st.sampled_from(Playbook.__struct_fields__), value=values)
def test_the_schema_and_the_model_agree(key: str, value: object) -> None:
    document = {
        "name": "a",
        "version": "1.0.0",
        "model": {"hf_repo": "a/b"},
        "test_matrix": {},
        key: value,
    }
    try:
        msgspec.convert(document, type=Playbook)
        refusal = ""
    except msgspec.ValidationError as error:
        refusal = str(error)
    assert bool(schema_findings(document, SCHEMA)) == bool(refusal), refusal


def test_keywords_that_our_models_do_not_make() -> None:
    (finding,) = schema_findings({"a": 3}, {"properties": {"a": {"const": 4}}})
    assert (finding.path, finding.what) == (("a",), "`a`: 4 was expected")


def test_nothing_where_a_union_wants_something() -> None:
    schema = {"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "array"}]}}}
    (finding,) = schema_findings({"a": None}, schema)
    assert finding.what == "`a` is null; expected text or a list"
