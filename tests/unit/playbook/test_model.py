from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aprqa_ci.playbook.model import Playbook, TestMatrix
from aprqa_ci.vocabulary import Backend, FailurePolicy, Modality, ModelFormat, SizeCategory


def test_defaults(minimal: dict[str, Any]) -> None:
    del minimal["model"]["size_category"]
    minimal["test_matrix"] = {}
    playbook = msgspec.convert(minimal, type=Playbook)
    assert playbook.test_matrix == TestMatrix(
        modalities=(Modality.RUN, Modality.CHAT, Modality.SERVE),
        backends=(Backend.CPU, Backend.GPU),
        scenario_count=100,
        seed=0,
        timeout_ms=60_000,
    )
    assert playbook.model.formats == (ModelFormat.SAFETENSORS, ModelFormat.APR, ModelFormat.GGUF)
    assert playbook.model.quantizations == ("q4_k_m",)
    assert playbook.model.size_category is SizeCategory.TINY
    assert playbook.failure_policy is FailurePolicy.STOP_ON_P0
    assert playbook.metadata == {}
    assert playbook.profile_ci is None


@pytest.mark.parametrize(
    "repo",
    ["Qwen/Qwen2.5-Coder-0.5B-Instruct", "01-ai/Yi-1.5-9B", "_x/.y", "a" * 96 + "/" + "b" * 96],
)
def test_repositories(minimal: dict[str, Any], repo: str) -> None:
    minimal["model"]["hf_repo"] = repo
    assert msgspec.convert(minimal, type=Playbook).model.hf_repo == repo


@pytest.mark.parametrize(
    "repo",
    ["a", "a/", "/b", "a/b/c", "a/..", "a/.", "../b", ".a/b", "a/b\n", "a b/c", "a/$(x)", "a/b;c",
     "a" * 97 + "/b", "a/" + "b" * 97, "á/b", ""],
)  # fmt: skip
def test_repositories_that_are_refused(minimal: dict[str, Any], repo: str) -> None:
    minimal["model"]["hf_repo"] = repo
    with pytest.raises(msgspec.ValidationError, match="hf_repo"):
        msgspec.convert(minimal, type=Playbook)


@pytest.mark.parametrize("revision", ["main", "refs/pr/1", "0" * 40, "v1.0"])
def test_revisions(minimal: dict[str, Any], revision: str) -> None:
    minimal["model"]["revision"] = revision
    assert msgspec.convert(minimal, type=Playbook).model.revision == revision


@pytest.mark.parametrize("revision", ["", "../x", "a/../b", "/a", "-x", "a\n", "a b"])
def test_revisions_that_are_refused(minimal: dict[str, Any], revision: str) -> None:
    minimal["model"]["revision"] = revision
    with pytest.raises(msgspec.ValidationError, match="revision"):
        msgspec.convert(minimal, type=Playbook)


@pytest.mark.parametrize(
    ("section", "key", "items"),
    [
        ("model", "formats", ["gguf", "gguf"]),
        ("model", "quantizations", ["f16", "f16"]),
        ("model", "quantizations", ["q4"]),
        ("test_matrix", "modalities", ["run", "run"]),
        ("test_matrix", "backends", ["cpu", "cpu"]),
        ("profile_ci", "backends", ["cpu", "cpu"]),
        ("profile_ci", "formats", ["apr", "apr"]),
        ("ollama_parity", "quantizations", ["q9"]),
    ],
)
def test_lists_are_checked(
    minimal: dict[str, Any], section: str, key: str, items: list[str]
) -> None:
    minimal.setdefault(section, {})[key] = items
    with pytest.raises(msgspec.ValidationError, match=r"more than once|unknown quantizations"):
        msgspec.convert(minimal, type=Playbook)


def test_settings_of_oracles_are_what_the_file_gives_and_no_more(minimal: dict[str, Any]) -> None:
    minimal["oracles"] = [
        {"type": "garbage", "config": {"min_unique_chars": 0}},
        {"type": "code_syntax", "config": {"languages": ["c++", "python"]}},
        {"type": "response"},
    ]
    oracles = msgspec.to_builtins(msgspec.convert(minimal, type=Playbook).oracles)
    assert oracles == (
        {"type": "garbage", "config": {"min_unique_chars": 0}},
        {"type": "code_syntax", "config": {"languages": ("c++", "python")}},
        {"type": "response", "config": {}},
    )


def test_a_key_of_another_oracle_is_refused(minimal: dict[str, Any]) -> None:
    minimal["oracles"] = [{"type": "garbage", "config": {"tolerance": 0.1}}]
    with pytest.raises(msgspec.ValidationError, match="tolerance"):
        msgspec.convert(minimal, type=Playbook)


@given(
    st.builds(
        TestMatrix,
        modalities=st.lists(st.sampled_from(Modality), min_size=1, unique=True).map(tuple),
        backends=st.lists(st.sampled_from(Backend), min_size=1, unique=True).map(tuple),
        scenario_count=st.integers(1, 1000),
        prompts=st.none() | st.lists(st.text(min_size=1), min_size=1).map(tuple),
        seed=st.integers(0, (1 << 63) - 1),
        timeout_ms=st.integers(1000, 3_600_000),
    )
)
def test_a_matrix_survives_being_written(matrix: TestMatrix) -> None:
    assert msgspec.convert(msgspec.to_builtins(matrix), type=TestMatrix) == matrix
