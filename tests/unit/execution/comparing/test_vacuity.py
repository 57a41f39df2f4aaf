"""No test is passed by there being nothing to compare, and none by what another tool said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aprqa_ci.execution.comparing.file_tests import FILE_TESTS
from aprqa_ci.execution.model_files import ModelFiles
from aprqa_ci.vocabulary import ModelFormat
from tests.broken_models import safetensors_of
from tests.tiny_llama import safetensors_bytes, write_tiny_llama

Judge = Callable[..., Any]

COMPARING = sorted(
    set(FILE_TESTS)
    - {"F-CONTRACT-I3-001", "F-CONTRACT-I5-001", "F-ROSETTA-FP-001"}
    - {"F-ROSETTA-STATS-005", "F-ROSETTA-STATS-006"}
    - {gate for gate in FILE_TESTS if gate.startswith("F-APR-FORMAT")}
)
SELECTING = {
    "F-ROSETTA-DIFF-001": "tensors",
    "F-ROSETTA-DIFF-002": "tensors",
    "F-ROSETTA-FP-001": "fingerprint",
    "F-ROSETTA-FP-002": "fingerprint",
    "F-ROSETTA-FP-003": "fingerprint",
}
OF_STATISTICS = ("F-ROSETTA-STATS-001", "F-ROSETTA-STATS-002", "F-ROSETTA-STATS-003")


@pytest.fixture
def empty(tmp_path: Path) -> ModelFiles:
    directory = write_tiny_llama(tmp_path / "empty")
    (directory / "model.safetensors").write_bytes(safetensors_bytes({}))
    return safetensors_of(directory)


@pytest.mark.parametrize("gate", sorted(set(FILE_TESTS) - {"F-CONTRACT-I5-001"}))
def test_zero_tensors(judge: Judge, empty: ModelFiles, truth: ModelFiles, gate: str) -> None:
    found = judge(gate, empty, truth)
    assert found.state == "falsified", found.reason
    assert "no tensors" in found.reason


@pytest.mark.parametrize("gate", sorted(set(COMPARING) - {"F-ROSETTA-INF-002"}))
def test_a_ground_truth_of_zero_tensors(
    judge: Judge, empty: ModelFiles, gguf: ModelFiles, gate: str
) -> None:
    found = judge(gate, gguf, empty)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
    assert "the ground truth cannot be read" in found.reason


@pytest.mark.parametrize("gate", COMPARING)
def test_a_file_with_itself(judge: Judge, gguf: ModelFiles, gate: str) -> None:
    found = judge(gate, gguf, gguf)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
    assert "compared with itself" in found.reason


def test_a_file_with_itself_by_another_name(
    judge: Judge, truth: ModelFiles, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(truth.directory, target_is_directory=True)
    assert judge("F-ROSETTA-DIFF-001", truth, safetensors_of(link)).state == "skipped"


@pytest.mark.parametrize("gate", COMPARING)
def test_nothing_to_compare_with(judge: Judge, gguf: ModelFiles, gate: str) -> None:
    found = judge(gate, gguf, None)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")


@pytest.mark.parametrize("gate", SELECTING)
def test_a_filter_that_selects_nothing(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles, gate: str
) -> None:
    found = judge(gate, gguf, truth, **{SELECTING[gate]: ("no.such", "tensor.name")})
    assert (found.state, found.cause) == ("skipped", "policy:nothing-to-compare")
    assert "no.such or tensor.name" in found.reason


@pytest.mark.parametrize("gate", [*OF_STATISTICS, "F-ROSETTA-STATS-004"])
@pytest.mark.parametrize("content", [None, "", "{}", '{"passed": true}', "EMPTY"])
def test_a_reference_that_is_missing_or_says_nothing(
    judge: Judge, truth: ModelFiles, tmp_path: Path, gate: str, content: str | None
) -> None:
    if content == "EMPTY":
        schema = "aprqa-tensor-statistics/1"
        content = json.dumps({"schema": schema, "source": {}, "tensors": {}})
    if content is not None:
        (tmp_path / "reference.json").write_text(content, encoding="utf-8")
    found = judge(gate, truth, None, reference="reference.json")
    assert (found.state, found.cause) == ("skipped", "policy:no-reference")
    assert "reference.json" in found.reason


def test_zero_tokens(judge: Judge, gguf: ModelFiles, truth: ModelFiles) -> None:
    found = judge("F-ROSETTA-INF-002", gguf, truth, max_tokens=0)
    assert (found.state, found.cause) == ("skipped", "policy:nothing-to-compare")


def test_tolerances_without_a_map_are_not_zero(
    judge: Judge, gguf: ModelFiles, truth: ModelFiles
) -> None:
    # An absent map once meant a tolerance of 0, which no quantized file can meet.
    for gate, limit in zip(OF_STATISTICS, (0.001, 0.1, 0.01), strict=True):
        assert judge(gate, gguf, truth).figures["limit"] == limit


@pytest.mark.parametrize("gate", sorted(FILE_TESTS))
def test_a_format_that_is_not_read_here(judge: Judge, truth: ModelFiles, gate: str) -> None:
    path = truth.directory / "model.apr"
    path.write_bytes(b"APR2")
    apr = ModelFiles(
        format=ModelFormat.APR, weights=(path,), directory=truth.directory, source="local_path"
    )
    found = judge(gate, apr, truth)
    assert (found.state, found.cause) == ("skipped", "infrastructure:not-judged")
